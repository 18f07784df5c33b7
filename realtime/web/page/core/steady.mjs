/** Decides which label is shown, so that it does not flicker: `fer_tf.realtime.steady`. */
import { argmax, CLASSES } from './classes.mjs';

export const UNCERTAIN = 'uncertain';

/** A label appears so far above the confidence that is asked for, and goes so far below it. */
const HALF_GAP = 0.05;

/** How much more probable another expression must be before it takes the place of the one that is shown. */
const MARGIN = Math.fround(0.05);

/**
 * @param {string | null} before What was shown in the frame before; null if there was none.
 * @param {Float32Array} probabilities
 * @param {number} minConfidence How probable an expression must be to be shown.
 * @returns {string} What is shown now: one of `CLASSES`, or `UNCERTAIN`.
 */
export function steady(before, probabilities, minConfidence) {
  const best = argmax(probabilities);
  const confidence = probabilities[best];
  if (before === null) return confidence >= minConfidence ? CLASSES[best] : UNCERTAIN;
  if (before === UNCERTAIN) return confidence >= Math.min(1, minConfidence + HALF_GAP) ? CLASSES[best] : UNCERTAIN;
  if (confidence < minConfidence - HALF_GAP) return UNCERTAIN;
  const held = probabilities[CLASSES.indexOf(before)];
  return Math.fround(confidence - held) <= MARGIN ? before : CLASSES[best];
}
