// What this device offers, and what it lacks, in words for the person who holds it.

import { Broken } from "./store.js";

const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15,
  253, 98, 11,
];
const EXCEPTIONS = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 8, 1, 6, 0, 6, 64, 25, 11, 11,
];
const SHARE = 0.5; // of a device's memory; browsers end pages that take more
const MOST_THREADS = 4; // phones have about as many fast cores
const WORTH_THREADS_BYTES = 100e6; // below, one is fast enough, and others would cost battery

/** Why the file cannot run here, or null. */
export function lacks(modelBytes) {
  if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, which runs the model.";
  if (!WebAssembly.validate(new Uint8Array(SIMD)) || !WebAssembly.validate(new Uint8Array(EXCEPTIONS))) {
    return (
      "This browser lacks WebAssembly SIMD, which runs the model. It needs Chrome 95, Firefox 100 " +
      "or Safari 16.4, or newer."
    );
  }
  const memory = navigator.deviceMemory; // in GiB, rounded; Safari and Firefox do not tell
  if (memory && modelBytes > memory * 2 ** 30 * SHARE) {
    return (
      `This device has about ${memory} GB of memory, and the model alone takes ` +
      `${(modelBytes / 1e9).toFixed(1)} GB. A smaller file may fit.`
    );
  }
  return null;
}

/** What to say of an error while the file was opened. */
export function whyNotOpened(error) {
  const said = String(error?.message ?? error);
  if (error instanceof Broken) return `The model could not be fetched: ${said}.`;
  if (/memory|alloc|OOM|grow/i.test(said)) {
    return "This device has not enough free memory for the model. Close other tabs or apps, and try again.";
  }
  return `The model could not be opened: ${said}`;
}

export function threadsFor(modelBytes) {
  if (!globalThis.crossOriginIsolated || modelBytes < WORTH_THREADS_BYTES) return 1;
  return Math.max(1, Math.min(MOST_THREADS, Math.floor((navigator.hardwareConcurrency || 1) / 2)));
}
