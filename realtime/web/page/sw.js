/**
 * Makes an exported page work offline, and gives it the headers that isolate it, where its host sends none.
 *
 * The network comes first, so a page is never older than its host's. What it brought is kept for when it is gone.
 */
const CACHE = 'fer-tf';

addEventListener('install', () => skipWaiting());
addEventListener('activate', (event) => event.waitUntil(clients.claim()));

addEventListener('fetch', (event) => {
  const { method, url } = event.request;
  if (method === 'GET' && new URL(url).origin === location.origin) event.respondWith(answer(event));
});

/** @param {FetchEvent} event */
async function answer(event) {
  const { request } = event;
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    const isWhole = response.status === 200;
    if (isWhole) event.waitUntil(cache.put(request, response.clone()).catch(() => {})); // the disk may be full
    return isolated(response);
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true, ignoreVary: true });
    if (!kept) throw error;
    return isolated(kept);
  }
}

/** @param {Response} response */
function isolated(response) {
  const headers = new Headers(response.headers);
  headers.set('Cross-Origin-Opener-Policy', 'same-origin');
  headers.set('Cross-Origin-Embedder-Policy', 'require-corp');
  headers.set('Cross-Origin-Resource-Policy', 'same-origin');
  const isEmpty = [204, 205, 304].includes(response.status);
  return new Response(isEmpty ? null : response.body, { status: response.status, headers });
}
