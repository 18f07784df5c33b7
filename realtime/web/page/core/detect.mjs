/** Finds faces: `fer_tf.realtime.detect` with the detector that ships. */
import { reduceToBgr } from './area.mjs';
import { rint } from './arithmetic.mjs';

/** @typedef {import('./area.mjs').Image} Image */

/**
 * @typedef {object} Detections Of N faces, in pixels of the image.
 * @property {number[][]} boxes N times left, top, width and height, in whole numbers.
 * @property {number[][][]} landmarks N times the x and y of the eyes, the tip of the nose and the corners of the mouth.
 */

/**
 * @callback RunDetector The network: an image, uint8 [height, width, 3], BGR, to left, top, right and bottom of boxes,
 *   their scores and five landmarks each.
 * @param {Uint8Array} bgr
 * @param {number} width
 * @param {number} height
 * @returns {Promise<{ boxes: Float32Array, scores: Float32Array, landmarks: Float32Array }>}
 */

/** Longer side, in pixels, to which frames are reduced for the search, and single pictures. */
export const SEARCH_SIZE = 640;
export const STILL_SEARCH_SIZE = 1920;

const SMALLEST_FACE = 24;
const CONFIDENCE = Math.fround(0.6);

/** Side of FER-2013's square crops, as a share of the height of the network's boxes. */
const FRAMING = 0.95;

/**
 * Finds the faces of an image. The numbers are of single precision, as Python's.
 *
 * @param {RunDetector} run
 * @param {Image} image
 * @param {number} searchSize The longer side of larger images is reduced to this many pixels.
 * @returns {Promise<Detections>}
 */
export async function findFaces(run, image, searchSize = SEARCH_SIZE) {
  const { width, height } = image;
  const reduction = Math.min(1, searchSize / Math.max(width, height));
  const searchedWidth = Math.max(1, rint(width * reduction));
  const searchedHeight = Math.max(1, rint(height * reduction));
  const found = await run(reduceToBgr(image, searchedWidth, searchedHeight), searchedWidth, searchedHeight);
  const scale = [Math.fround(width / searchedWidth), Math.fround(height / searchedHeight)];
  /** @type {Detections} */
  const detections = { boxes: [], landmarks: [] };
  for (let face = 0; face < found.scores.length; face++) {
    if (!(found.scores[face] >= CONFIDENCE)) continue;
    const box = framed(found.boxes.subarray(4 * face, 4 * face + 4)).map((value, i) => Math.fround(value * scale[i % 2]));
    if (!box.every(Number.isFinite) || box[3] < SMALLEST_FACE) continue;
    detections.boxes.push(box.map(rint));
    const points = found.landmarks.subarray(10 * face, 10 * face + 10);
    detections.landmarks.push(
      [0, 2, 4, 6, 8].map((i) => [Math.fround(points[i] * scale[0]), Math.fround(points[i + 1] * scale[1])]),
    );
  }
  return detections;
}

/**
 * Scales a box of the network around its center to FER-2013's framing.
 *
 * @param {Float32Array} box Left, top, right and bottom.
 * @returns {number[]} Left, top, width and height.
 */
function framed([left, top, right, bottom]) {
  const width = Math.fround(right - left);
  const height = Math.fround(bottom - top);
  const margin = Math.fround((1 - FRAMING) / 2);
  const kept = Math.fround(FRAMING);
  return [
    Math.fround(left + Math.fround(width * margin)),
    Math.fround(top + Math.fround(height * margin)),
    Math.fround(width * kept),
    Math.fround(height * kept),
  ];
}
