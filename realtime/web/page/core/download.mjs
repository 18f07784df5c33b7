/** Fetches files, with progress, and unpacks those that are packed. */

/**
 * @callback OnProgress
 * @param {string} name
 * @param {number} loaded Bytes so far.
 * @param {number} total Bytes in all; 0 if the host does not say.
 */

/**
 * @param {URL} url
 * @param {OnProgress} onProgress
 * @returns {Promise<Uint8Array<ArrayBuffer>>} What is in the file, unpacked if it is packed by gzip.
 */
export async function download(url, onProgress) {
  const name = url.pathname.slice(url.pathname.lastIndexOf('/') + 1);
  const response = await fetch(url).catch(() => null);
  if (!response?.ok || !response.body) {
    throw new Error(`${name} could not be loaded (${response ? `status ${response.status}` : 'no connection'}).`);
  }
  const total = response.headers.has('Content-Encoding') ? 0 : Number(response.headers.get('Content-Length') ?? 0);
  let loaded = 0;
  const counted = response.body.pipeThrough(
    new TransformStream({
      transform(chunk, controller) {
        loaded += chunk.length;
        onProgress(name, loaded, total);
        controller.enqueue(chunk);
      },
    }),
  );
  const bytes = await bytesOf(counted);
  // Some hosts declare a packed file's encoding, so that the browser has unpacked it already. Its bytes tell.
  const isPacked = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return isPacked ? bytesOf(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))) : bytes;
}

/** @param {ReadableStream<any>} stream */
async function bytesOf(stream) {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
