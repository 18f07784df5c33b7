/** Takes frames and returns their faces with the expressions that they show: `fer_tf.realtime.pipeline`. */
import { argmax, CLASSES } from './classes.mjs';
import { cropFace, IMAGE_SIZE } from './crop.mjs';
import { findFaces, SEARCH_SIZE, STILL_SEARCH_SIZE } from './detect.mjs';
import { rint } from './arithmetic.mjs';
import { landmarksOf, Tracker } from './track.mjs';

/** @typedef {import('./area.mjs').Image} Image */
/** @typedef {import('./detect.mjs').RunDetector} RunDetector */

/**
 * @typedef {object} Face A face in a frame, and the expression that it shows.
 * @property {number} track Number that stays with the face from frame to frame, from 0 in each stream.
 * @property {number[]} box Left, top, width and height in whole pixels of the frame, and perhaps beyond it.
 * @property {Uint8Array} crop [48, 48], gray: the input of the model.
 * @property {Float32Array} probabilities Of `CLASSES`, smoothed over time.
 * @property {Float32Array} raw Those of this frame alone.
 * @property {string} label The most probable expression.
 * @property {number} confidence Its probability.
 * @property {boolean} certain Whether the confidence reaches `minConfidence`.
 */

/**
 * @callback RunRecognizer The model: face crops, uint8 [count, 48, 48], to probabilities, float32 [count, 7].
 * @param {Uint8Array} crops
 * @param {number} count
 * @returns {Promise<Float32Array>}
 */

/**
 * @typedef {object} Settings
 * @property {number} smoothing Time constant in seconds for averaging probabilities; 0 turns it off.
 * @property {number} minConfidence Less probable expressions are "uncertain".
 */

/** @type {Settings} */
export const DEFAULTS = Object.freeze({ smoothing: 0.3, minConfidence: 0.4 });

/** How many faces are recognized at once; more are split, so that memory stays bounded. */
const LARGEST_BATCH = 64;

export class Pipeline {
  #tracker = new Tracker();

  /**
   * @param {RunDetector} detector
   * @param {RunRecognizer} recognizer
   * @param {Partial<Settings>} settings
   */
  constructor(detector, recognizer, settings = {}) {
    this.detector = detector;
    this.recognizer = recognizer;
    this.settings = { ...DEFAULTS, ...settings };
  }

  /** Forgets all faces; the next frame starts a new stream. */
  reset() {
    this.#tracker = new Tracker();
  }

  /**
   * Analyzes the next frame of the stream.
   *
   * @param {Image} image
   * @param {number} time In seconds.
   * @returns {Promise<Face[]>} Ordered by track.
   */
  async next(image, time) {
    return this.#analyze(image, time, SEARCH_SIZE, this.settings.smoothing);
  }

  /**
   * Analyzes a picture that stands alone.
   *
   * @param {Image} image
   * @returns {Promise<Face[]>}
   */
  async still(image) {
    this.reset();
    return this.#analyze(image, 0, STILL_SEARCH_SIZE, 0);
  }

  /**
   * @param {Image} image
   * @param {number} time
   * @param {number} searchSize
   * @param {number} smoothing
   */
  async #analyze(image, time, searchSize, smoothing) {
    const tracks = this.#tracker.update(await findFaces(this.detector, image, searchSize), time, image);
    const boxes = tracks.map((track) => track.box.map(rint));
    const crops = tracks.map((track, i) => cropFace(image, boxes[i], landmarksOf(track)));
    const rows = await this.#recognize(crops);
    return tracks.map((track, i) => {
      const probabilities = track.average.add(rows[i], track.seen, smoothing);
      const best = argmax(probabilities);
      return {
        track: track.id,
        box: boxes[i],
        crop: crops[i],
        probabilities,
        raw: rows[i],
        label: CLASSES[best],
        confidence: probabilities[best],
        certain: probabilities[best] >= Math.fround(this.settings.minConfidence),
      };
    });
  }

  /**
   * @param {Uint8Array[]} crops
   * @returns {Promise<Float32Array[]>} The probabilities of each.
   */
  async #recognize(crops) {
    /** @type {Float32Array[]} */
    const rows = [];
    for (let start = 0; start < crops.length; start += LARGEST_BATCH) {
      const batch = crops.slice(start, start + LARGEST_BATCH);
      const faces = new Uint8Array(batch.length * IMAGE_SIZE ** 2);
      batch.forEach((crop, i) => faces.set(crop, i * IMAGE_SIZE ** 2));
      const found = await this.recognizer(faces, batch.length);
      batch.forEach((_, i) => rows.push(found.slice(i * CLASSES.length, (i + 1) * CLASSES.length)));
    }
    return rows;
  }
}
