/** Takes frames and returns their faces with the expressions that they show: `fer_tf.realtime.pipeline`. */
import { Answers } from './answers.mjs';
import { argmax, CLASSES } from './classes.mjs';
import { cropFace, IMAGE_SIZE } from './crop.mjs';
import { findFaces, SEARCH_SIZE, STILL_SEARCH_SIZE } from './detect.mjs';
import { expectedShares, logProbabilities, mixtureOffset } from './mixture.mjs';
import { rint } from './arithmetic.mjs';
import { UNCERTAIN } from './steady.mjs';
import { landmarksOf, Tracker } from './track.mjs';

/** @typedef {import('./area.mjs').Image} Image */
/** @typedef {import('./detect.mjs').RunDetector} RunDetector */
/** @typedef {import('./answers.mjs').Settings} Settings */
/** @typedef {import('./answers.mjs').State} State */

/**
 * @typedef {object} Face A face in a frame, and the expression that it shows.
 * @property {number} track Number that stays with the face from frame to frame, from 0 in each stream.
 * @property {number[]} box Left, top, width and height in whole pixels of the frame, and perhaps beyond it.
 * @property {Uint8Array} crop [48, 48], gray: the input of the model.
 * @property {Float32Array} probabilities Of `CLASSES`, smoothed over time, then corrected.
 * @property {Float32Array} raw What the model said of this frame.
 * @property {string} label The most probable expression.
 * @property {number} confidence Its probability.
 * @property {string} shown What is shown: an expression, or "uncertain". It changes later than `label`.
 * @property {boolean} certain Whether an expression is shown.
 * @property {State} resting Whether the face at rest is known.
 */

/**
 * @callback RunRecognizer The model: face crops, uint8 [count, 48, 48], to probabilities, float32 [count, 7].
 * @param {Uint8Array} crops
 * @param {number} count
 * @returns {Promise<Float32Array>}
 */

/** @type {Settings} */
export const DEFAULTS = Object.freeze({
  smoothing: 0.3,
  minConfidence: 0.4,
  expect: 'everyday',
  resting: null,
  restingWeight: 0.5,
});

/** How many faces are recognized at once; more are split, so that memory stays bounded. */
const LARGEST_BATCH = 64;

export class Pipeline {
  #tracker = new Tracker();
  /** @type {number[] | undefined} */
  #trainingShares;
  /** @type {RunRecognizer} */
  #recognizer;
  #answers;

  /**
   * @param {RunDetector} detector
   * @param {RunRecognizer} recognizer
   * @param {number[] | undefined} trainingShares From the model's card.
   * @param {Partial<Settings>} settings
   */
  constructor(detector, recognizer, trainingShares, settings = {}) {
    this.detector = detector;
    this.#recognizer = recognizer;
    this.#trainingShares = trainingShares;
    this.settings = { ...DEFAULTS };
    this.#answers = new Answers(this.settings);
    this.configure(settings);
  }

  /**
   * Changes settings.
   *
   * @param {Partial<Settings>} settings
   * @throws {Error} if `expect` is no mixture.
   */
  configure(settings) {
    const { expect } = { ...this.settings, ...settings };
    this.#answers.offset = mixtureOffset(expectedShares(expect), this.#trainingShares);
    Object.assign(this.settings, settings);
  }

  /**
   * Uses another model, for another stream.
   *
   * @param {RunRecognizer} recognizer
   * @param {number[] | undefined} trainingShares
   */
  useModel(recognizer, trainingShares) {
    this.#recognizer = recognizer;
    this.#trainingShares = trainingShares;
    this.#answers.rest = null;
    this.configure({});
    this.reset();
  }

  /** Forgets all faces; the next frame starts a new stream. */
  reset() {
    this.#tracker = new Tracker();
  }

  /** Takes the next second of each face that is visible then as its resting face, until its track ends. */
  takeRest() {
    this.#answers.askForRest();
  }

  /**
   * Takes pictures of one person at rest, and corrects the answers about all faces for it.
   *
   * @param {Image[]} images Each with one face; none ends it.
   */
  async rest(images) {
    /** @type {number[][]} */
    const logs = [];
    for (const image of images) {
      const faces = await this.still(image);
      if (faces.length !== 1) throw new Error(`A picture shows ${faces.length || 'no'} faces. Expected one, at rest.`);
      logs.push(logProbabilities(faces[0].raw));
    }
    this.#answers.rest = images.length
      ? CLASSES.map((_, i) => logs.reduce((sum, log) => sum + log[i], 0) / logs.length)
      : null;
  }

  /**
   * Analyzes the next frame of the stream.
   *
   * @param {Image} image
   * @param {number} time In seconds.
   * @returns {Promise<Face[]>} Ordered by track.
   */
  async next(image, time) {
    const tracks = this.#tracker.update(await findFaces(this.detector, image, SEARCH_SIZE), time, image);
    this.#answers.hear(tracks);
    return this.#recognized(image, tracks, false);
  }

  /**
   * Analyzes a picture by itself: nothing is smoothed, and nothing remembered.
   *
   * @param {Image} image
   * @returns {Promise<Face[]>} From left to right.
   */
  async still(image) {
    const found = await findFaces(this.detector, image, STILL_SEARCH_SIZE);
    return this.#recognized(image, new Tracker().update(found, 0, image), true);
  }

  /**
   * @param {Image} image
   * @param {import('./track.mjs').Track[]} tracks
   * @param {boolean} isStill
   * @returns {Promise<Face[]>}
   */
  async #recognized(image, tracks, isStill) {
    const boxes = tracks.map((track) => track.box.map(rint));
    const crops = tracks.map((track, i) => cropFace(image, boxes[i], landmarksOf(track)));
    const rows = await this.#recognize(crops);
    return tracks.map((track, i) => {
      const { probabilities, shown, resting } = this.#answers.add(track, rows[i], isStill);
      const best = argmax(probabilities);
      return {
        track: track.id,
        box: boxes[i],
        crop: crops[i],
        probabilities,
        raw: rows[i],
        label: CLASSES[best],
        confidence: probabilities[best],
        shown,
        certain: shown !== UNCERTAIN,
        resting,
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
      const found = await this.#recognizer(faces, batch.length);
      batch.forEach((_, i) => rows.push(found.slice(i * CLASSES.length, (i + 1) * CLASSES.length)));
    }
    return rows;
  }
}
