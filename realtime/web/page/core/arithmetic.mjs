/** Arithmetic as Python and NumPy have it. */

/**
 * @param {number} value
 * @returns {number} The nearest whole number; of two, the even one.
 */
export function rint(value) {
  const below = Math.floor(value);
  const part = value - below;
  if (part !== 0.5) return part < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

/**
 * @param {number} value
 * @param {number} least
 * @param {number} most
 */
export function clamp(value, least, most) {
  return value < least ? least : value > most ? most : value;
}

/**
 * Rounds as Python's `round` does: a decimal that lies exactly in the middle goes to the even digit.
 *
 * @param {number} value
 * @param {number} digits
 * @returns {string} With exactly so many digits.
 */
export function fixed(value, digits) {
  const inHalves = Math.abs(value) * 2 ** (digits + 1);
  const isTie = inHalves % 2 === 1; // for other numbers, a decimal middle is no binary fraction
  if (!isTie) return value.toFixed(digits);
  return (rint(value * 10 ** digits) / 10 ** digits).toFixed(digits);
}
