// Keeps the page for flight mode. The shell is cached whole under the digest of its build; the
// model's parts are cached by the page itself (store.js), which shows progress and checks digests.
// Answers carry the headers that let a page use threads, whichever host it came from.

const VERSION = "{{version}}";
const SHELL = {{shell}};
const CACHE = `kindred-shell-${VERSION}`;
const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

self.addEventListener("install", (event) => {
  const fresh = SHELL.map((path) => new Request(path, { cache: "no-cache" }));
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(fresh)).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const old = (name) => name.startsWith("kindred-shell-") && name !== CACHE;
  event.waitUntil(
    caches
      .keys()
      .then((names) => Promise.all(names.filter(old).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== location.origin) return;
  if (event.request.mode === "navigate" && url.pathname.endsWith("/")) url.pathname += "index.html";
  url.search = url.hash = "";
  event.respondWith(answer(event.request, url.href));
});

async function answer(request, href) {
  const held = await (await caches.open(CACHE)).match(href);
  const found = held ?? (await fetch(request));
  if (!found.body || found.type === "opaqueredirect") return found;
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
