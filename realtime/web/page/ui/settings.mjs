/** The fields of the settings. */
import { DEFAULTS } from '../core/pipeline.mjs';

/** @typedef {import('../core/answers.mjs').Settings} Settings */

export class SettingsForm {
  /**
   * @param {(id: string) => HTMLInputElement} input Finds a field.
   * @param {HTMLSelectElement} resting
   * @param {() => void} onChange
   */
  constructor(input, resting, onChange) {
    this.smoothing = input('smoothing');
    this.confidence = input('confidence');
    this.expect = input('expect');
    this.weight = input('weight');
    this.rate = input('rate');
    this.resting = resting;
    for (const field of [this.smoothing, this.confidence, this.expect, this.weight, this.resting]) {
      field.addEventListener('change', onChange);
    }
  }

  /** @returns {Settings} The defaults where nothing useful is typed. */
  get values() {
    const { value } = this.resting;
    return {
      smoothing: numberIn(this.smoothing, DEFAULTS.smoothing),
      minConfidence: numberIn(this.confidence, 100 * DEFAULTS.minConfidence) / 100,
      expect: this.expect.value || DEFAULTS.expect,
      resting: value === 'auto' ? value : Number(value) || null,
      restingWeight: numberIn(this.weight, 100 * DEFAULTS.restingWeight) / 100,
    };
  }

  /** @returns {number} How many frames of each second of a video are taken. */
  get videoRate() {
    return numberIn(this.rate, 10);
  }
}

/**
 * @param {HTMLInputElement} input
 * @param {number} otherwise
 */
function numberIn(input, otherwise) {
  return input.value !== '' && input.checkValidity() ? input.valueAsNumber : otherwise;
}
