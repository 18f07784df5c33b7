/** Turns what the model says of each frame into what is said of a face: smoothed, then corrected, and shown steadily. */
import { correct, restingOffset } from './mixture.mjs';
import { KEY_SECONDS, RestingFace } from './resting.mjs';
import { steady } from './steady.mjs';

/** @typedef {import('./resting.mjs').Resting} Resting */
/** @typedef {import('./resting.mjs').State} State */
/** @typedef {import('./track.mjs').Track} Track */

/**
 * @typedef {object} Settings
 * @property {number} smoothing Time constant in seconds for averaging probabilities; 0 turns it off.
 * @property {number} minConfidence How probable an expression must be to be shown, 0 to 1.
 * @property {string} expect The mixture of expressions that is expected.
 * @property {Resting} resting When each face is at rest.
 * @property {number} restingWeight How much of a resting face is taken for this person's own, 0 to 1.
 */

/** What was said of a face so far. */
export class Past {
  /** @type {Float64Array | null} */
  #average = null;
  #time = 0;
  /** @type {string | null} */
  shown = null;
  /** @type {RestingFace | null} */
  resting = null;

  /**
   * Adds probabilities to a moving average: after `dt` seconds they have the weight `1 - exp(-dt / tau)`.
   *
   * @param {Float32Array} probabilities
   * @param {number} time In seconds.
   * @param {number} tau Time constant in seconds; 0 turns smoothing off.
   * @returns {Float32Array} The average.
   */
  smooth(probabilities, time, tau) {
    const before = this.#average;
    if (before === null || tau === 0) {
      this.#average = Float64Array.from(probabilities);
    } else {
      const weight = Math.expm1(-(time - this.#time) / tau);
      this.#average = before.map((value, i) => value - weight * (probabilities[i] - value));
    }
    this.#time = time;
    return Float32Array.from(this.#average);
  }
}

export class Answers {
  /** @type {number[] | null} Log-probabilities of the one person at rest that all faces are of. */
  rest = null;
  /** What the expected mixture adds to log-probabilities. @type {number[]} */
  offset = [];
  #isAsked = false;

  /** @param {Settings} settings They may change. */
  constructor(settings) {
    this.settings = settings;
  }

  /** Has the next frame's faces taken as resting. */
  askForRest() {
    this.#isAsked = true;
  }

  /** @param {Track[]} tracks Of the next frame. */
  hear(tracks) {
    if (this.#isAsked) for (const track of tracks) this.#faceOf(track, false).take(KEY_SECONDS, track.seen);
    this.#isAsked = false;
  }

  /**
   * Adds a frame of one face.
   *
   * @param {Track} track
   * @param {Float32Array} raw What the model says of it.
   * @param {boolean} isStill Whether it is a picture by itself, of which nothing can be learned.
   * @returns {{ probabilities: Float32Array, shown: string, resting: State }}
   */
  add(track, raw, isStill) {
    const { smoothing, restingWeight, minConfidence } = this.settings;
    const { past, seen } = track;
    const smoothed = past.smooth(raw, seen, isStill ? 0 : smoothing);
    const face = this.#faceOf(track, isStill);
    const rest = face.see(raw, seen) ?? this.rest;
    const resting = rest ? restingOffset(rest, restingWeight) : null;
    const offset = resting ? this.offset.map((value, i) => value + resting[i]) : this.offset;
    const probabilities = correct(smoothed, offset);
    past.shown = steady(past.shown, probabilities, minConfidence);
    return { probabilities, shown: past.shown, resting: rest ? 'taken' : face.state };
  }

  /**
   * @param {Track} track
   * @param {boolean} isStill
   */
  #faceOf({ past, seen }, isStill) {
    past.resting ??= new RestingFace(isStill ? null : this.settings.resting, seen);
    return past.resting;
  }
}
