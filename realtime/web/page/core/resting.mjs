/** Learns how the model sees a person's face at rest: `fer_tf.realtime.resting`. */
import { CLASSES } from './classes.mjs';
import { logProbabilities, LOWEST } from './mixture.mjs';

/** @typedef {number | 'auto' | null} Resting When a face is at rest: in so many first seconds, in the median, or never. */
/** @typedef {'' | 'taking' | 'taken'} State Whether a resting face is known: not at all, being learned, or known. */

/** For how long a face is watched when a user says that it is at rest. */
export const KEY_SECONDS = 1;

/** How long a face must have been followed before the median counts. */
const LEAST_SECONDS = 1;

/** The histogram of log-probabilities: the width of a bin, and their number. */
const STEP = 0.1;
const STEPS = Math.trunc(-LOWEST / STEP) + 1;

export class RestingFace {
  /** @type {number[] | null} */
  #known = null;
  /** @type {number[]} */
  #sum = [];
  #count = 0;
  #end = 0;
  #isTaking = false;
  /** @type {RunningMedian | null} */
  #median = null;
  #medianFrom = 0;

  /**
   * @param {Resting} resting
   * @param {number} now When the track began, in seconds.
   */
  constructor(resting, now) {
    if (resting === 'auto') {
      this.#median = new RunningMedian();
      this.#medianFrom = now + LEAST_SECONDS;
    } else if (resting !== null) {
      this.take(resting, now);
    }
  }

  /** @returns {State} */
  get state() {
    if (this.#isTaking) return 'taking';
    return this.#known ? 'taken' : '';
  }

  /**
   * Takes the frames from now on, for some seconds, as those of a face at rest.
   *
   * @param {number} seconds
   * @param {number} now
   */
  take(seconds, now) {
    this.#known = this.#median = null;
    this.#sum = CLASSES.map(() => 0);
    this.#count = 0;
    this.#end = now + seconds;
    this.#isTaking = true;
  }

  /**
   * @param {Float32Array} probabilities What the model says of a frame.
   * @param {number} now
   * @returns {number[] | null} The log-probabilities of the face at rest; null as long as it is not known.
   */
  see(probabilities, now) {
    const logs = logProbabilities(probabilities);
    if (this.#median) {
      this.#median.add(logs);
      if (now >= this.#medianFrom) this.#known = this.#median.value;
    } else if (this.#isTaking) {
      if (now < this.#end || !this.#count) {
        this.#sum = this.#sum.map((sum, i) => sum + logs[i]);
        this.#count++;
      } else {
        this.#known = this.#sum.map((sum) => sum / this.#count);
        this.#isTaking = false;
      }
    }
    return this.#known;
  }
}

/** The median of ever more log-probabilities of each class, to half a `STEP`, in memory that does not grow. */
class RunningMedian {
  #counts = CLASSES.map(() => new Uint32Array(STEPS));
  #total = 0;

  /** @param {number[]} logs */
  add(logs) {
    logs.forEach((log, i) => this.#counts[i][Math.max(0, Math.min(STEPS - 1, Math.trunc((log - LOWEST) / STEP)))]++);
    this.#total++;
  }

  get value() {
    // The middle number, or both of an even count.
    const ranks = [Math.floor((this.#total + 1) / 2), Math.floor(this.#total / 2) + 1];
    return this.#counts.map((counts) => {
      const [one, other] = ranks.map((rank) => binOf(counts, rank));
      return LOWEST + STEP * (0.5 + (one + other) / 2);
    });
  }
}

/**
 * @param {Uint32Array} counts
 * @param {number} rank From 1.
 * @returns {number} The bin in which the number of that rank is.
 */
function binOf(counts, rank) {
  let below = 0;
  return counts.findIndex((count) => (below += count) >= rank);
}
