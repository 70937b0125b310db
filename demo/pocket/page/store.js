// The model's parts: fetched once, checked by digest, kept in the browser's cache for flight mode.

const KEPT = "kindred-model";
// Asked for at once: a browser that has never kept anything takes its time.
const opening = "caches" in globalThis ? caches.open(KEPT).catch(() => null) : null;

export class Broken extends Error {}

/** All parts as one Blob; `kept` tells whether the next visit needs no network. */
export async function fetchModel(parts, told) {
  const cache = await opening;
  const all = parts.reduce((sum, part) => sum + part.size_bytes, 0);
  let done = 0;
  let kept = cache !== null;
  const blobs = [];
  for (const part of parts) {
    let blob = await (await cache?.match(part.path))?.blob();
    if (!blob) {
      blob = await fetched(part, (bytes) => told(done + bytes, all));
      await verify(blob, part);
      kept = kept && (await keep(cache, part, blob));
    }
    blobs.push(blob);
    done += part.size_bytes;
    told(done, all);
  }
  await forgetOthers(cache, parts);
  return { blob: new Blob(blobs), kept };
}

async function fetched(part, told) {
  const response = await fetch(part.path, { cache: "no-store" }).catch(() => {
    throw new Broken("the model is not on this device yet, and the network does not answer");
  });
  if (!response.ok) throw new Broken(`${part.path}: the server answers ${response.status}`);
  const chunks = [];
  let bytes = 0;
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(chunks);
    chunks.push(value);
    bytes += value.byteLength;
    told(bytes);
  }
}

async function verify(blob, part) {
  if (blob.size !== part.size_bytes) {
    throw new Broken(`${part.path} has ${blob.size} bytes, expected ${part.size_bytes}`);
  }
  if (!globalThis.crypto?.subtle) return; // no https: sizes are all that can be checked
  const digest = await crypto.subtle.digest("SHA-256", await blob.arrayBuffer());
  const found = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0"));
  if (found.join("") !== part.sha256) throw new Broken(`${part.path} is not the file that was built`);
}

/** False where the browser has no room. */
async function keep(cache, part, blob) {
  try {
    await cache.put(part.path, new Response(blob));
    return true;
  } catch {
    return false;
  }
}

async function forgetOthers(cache, parts) {
  const wanted = new Set(parts.map((part) => new URL(part.path, document.baseURI).href));
  for (const request of (await cache?.keys()) ?? []) {
    if (!wanted.has(request.url)) await cache.delete(request);
  }
}
