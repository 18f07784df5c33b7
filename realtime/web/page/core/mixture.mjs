/** Corrects probabilities for the mixture of expressions that is expected, and for a resting face: `fer_tf.mixture`. */
import { CLASSES } from './classes.mjs';

/** Images of each class in FER-2013's training split. */
const FER2013_COUNTS = [3995, 436, 4097, 7215, 4965, 4830, 3171];
const FER2013 = FER2013_COUNTS.map((count) => count / FER2013_COUNTS.reduce((sum, each) => sum + each, 0));

/** @type {Record<string, number[]>} Mixtures by name: shares of `CLASSES`. */
export const PRESETS = {
  everyday: [0.06, 0.02, 0.03, 0.3, 0.45, 0.09, 0.05],
  even: CLASSES.map(() => 1 / CLASSES.length),
  fer2013: FER2013,
};

/** Names that data sets use for the same classes. */
const ALIASES = new Map(
  Object.entries({
    afraid: 'fear',
    anger: 'angry',
    disgusted: 'disgust',
    fearful: 'fear',
    happiness: 'happy',
    joy: 'happy',
    neutrality: 'neutral',
    sadness: 'sad',
    suprise: 'surprise',
    surprised: 'surprise',
  }),
);

/** What a model is taken to answer about a face at rest. */
const NEUTRAL = [0.04, 0.01, 0.04, 0.06, 0.7, 0.12, 0.03];

/** Smaller probabilities and training shares count as these. */
const LEAST = 1e-6;
const RAREST = 0.01;

/** How far from 1 the shares of all seven may sum, if a user has rounded them. */
const ROUNDING = 0.025;

/** The logarithm of the smallest probability. */
export const LOWEST = Math.log(LEAST);

/**
 * @param {string} text A name of `PRESETS`, or shares such as `happy=.3,neutral=.5`. Expressions that are not named
 *   share the rest as FER-2013 has them.
 * @returns {number[]} The share of each of `CLASSES`; they sum to 1.
 * @throws {Error} if it is neither; the message is a sentence for the user.
 */
export function expectedShares(text) {
  const name = text.trim().toLowerCase();
  if (Object.hasOwn(PRESETS, name)) return [...PRESETS[name]];
  /** @type {(number | null)[]} */
  const shares = CLASSES.map(() => null);
  for (const part of text.split(',')) {
    const [expression, value, ...more] = part.split('=').map((word) => word.trim());
    if (value === undefined || more.length) {
      throw new Error(`Expected ${Object.keys(PRESETS).join(', ')}, or shares such as happy=.3,neutral=.5.`);
    }
    const key = expression.toLowerCase();
    const index = CLASSES.indexOf(ALIASES.get(key) ?? key);
    if (index < 0) throw new Error(`${expression} is no expression. Expected some of ${CLASSES.join(', ')}.`);
    if (shares[index] !== null) throw new Error(`${CLASSES[index]} is named twice. Give each expression one share.`);
    const share = value === '' ? NaN : Number(value);
    if (!(share >= 0 && share <= 1)) throw new Error(`The share of ${expression} must be a number from 0 to 1.`);
    shares[index] = share;
  }
  const total = sum(shares.map((share) => share ?? 0));
  const left = sum(FER2013.filter((_, i) => shares[i] === null));
  if (left && total > 1 + 1e-9) throw new Error(`The shares sum to ${total}. Expected at most 1.`);
  if (!left && Math.abs(total - 1) > ROUNDING) throw new Error(`The shares of all seven sum to ${total}. Expected 1.`);
  const filled = shares.map((share, i) => share ?? (Math.max(0, 1 - total) * FER2013[i]) / left);
  return filled.map((share) => share / sum(filled));
}

/**
 * @param {number[]} expected
 * @param {number[]} [training] What the model was trained on; without any, FER-2013.
 * @returns {number[]} What the mixture adds to log-probabilities.
 */
export function mixtureOffset(expected, training) {
  const shares = training ? training.map((share) => Math.max(share, RAREST)) : FER2013;
  return expected.map((share, i) => Math.log(share) - Math.log(shares[i]));
}

/**
 * @param {ArrayLike<number>} rest The mean log-probabilities of a person at rest.
 * @param {number} weight How much of the difference is taken for this person's own, 0 to 1.
 * @returns {number[]} What it adds to log-probabilities.
 */
export function restingOffset(rest, weight) {
  return NEUTRAL.map((probability, i) => -weight * (rest[i] - Math.log(probability)));
}

/** @param {ArrayLike<number>} probabilities */
export function logProbabilities(probabilities) {
  return Array.from(probabilities, (probability) => Math.log(Math.max(probability, LEAST)));
}

/**
 * @param {Float32Array} probabilities
 * @param {number[]} offset Where it is 0 everywhere, the probabilities stay as they are.
 * @returns {Float32Array} softmax(log p + offset)
 */
export function correct(probabilities, offset) {
  if (offset.every((value) => value === 0)) return probabilities;
  const logits = logProbabilities(probabilities).map((log, i) => log + offset[i]);
  const largest = Math.max(...logits);
  const weights = logits.map((logit) => Math.exp(logit - largest));
  const total = sum(weights);
  return Float32Array.from(weights, (weight) => weight / total);
}

/** @param {number[]} values */
const sum = (values) => values.reduce((total, value) => total + value, 0);
