/** The seven expressions of FER-2013, in the one order that every file and array has. */
export const CLASSES = Object.freeze(['angry', 'disgust', 'fear', 'happy', 'neutral', 'sad', 'surprise']);

/**
 * @param {ArrayLike<number>} values
 * @returns {number} Index of the largest value; of equal ones, the first.
 */
export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}
