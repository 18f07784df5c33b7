/** Reads pixels. */

/** @typedef {import('../core/area.mjs').Image} Image */

const canvas = document.createElement('canvas');
const context = /** @type {CanvasRenderingContext2D} */ (
  canvas.getContext('2d', { alpha: false, willReadFrequently: true })
);

/**
 * @param {CanvasImageSource} picture
 * @param {number} width In pixels.
 * @param {number} height
 * @param {boolean} mirror Whether it is mirrored.
 * @returns {Image} What is transparent is on black.
 */
export function pixelsOf(picture, width, height, mirror = false) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.resetTransform();
  context.clearRect(0, 0, width, height); // where the picture is transparent, the last one would shine through
  context.setTransform(mirror ? -1 : 1, 0, 0, 1, mirror ? width : 0, 0);
  context.imageSmoothingEnabled = false; // every pixel stays one
  context.drawImage(picture, 0, 0);
  try {
    return { data: context.getImageData(0, 0, width, height).data, width, height };
  } catch {
    throw new Error(`The picture is too large for this browser: ${width} × ${height} pixels.`);
  }
}
