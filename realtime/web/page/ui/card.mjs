/** Shows the card of a model. */

/** @typedef {import('../core/card.mjs').Card} Card */

/**
 * @param {HTMLElement} list A `dl`.
 * @param {Card} card
 */
export function showCard(list, card) {
  /** @type {[string, string | undefined][]} */
  const rows = [
    ['name', card.name],
    ['network', card.architecture],
    ['preprocessing', card.dataset],
    ['trained with', card.framework],
    ['made from', card.source_file],
    ['accuracy', accuracyOf(card)],
    ['meant for', card.intended_uses],
    ['not for', card.excluded_uses],
    ['license', card.license],
  ];
  list.replaceChildren(
    ...rows.flatMap(([name, text]) => {
      if (!text) return [];
      const term = Object.assign(document.createElement('dt'), { textContent: name });
      return [term, Object.assign(document.createElement('dd'), { textContent: text })];
    }),
  );
}

/**
 * @param {Card} card
 * @returns {string} A sentence.
 */
export function accuracyOf({ metrics }) {
  if (typeof metrics.accuracy !== 'number') return 'The card of this model has no figures, so nobody knows how often it is right.';
  const [percent, ...interval] = [metrics.accuracy, ...(metrics.accuracy_interval ?? [])].map((p) => (100 * p).toFixed(1));
  const range = interval.length === 2 ? `, with a 95% interval of ${interval[0]} to ${interval[1]}` : '';
  return `Right for ${percent}% of ${metrics.n} faces of FER-2013’s PublicTest${range}. Expect less on other faces.`;
}
