/** Reads the card of a model file. onnxruntime-web does not give a file's metadata, so the file is read here. */
import { CLASSES } from './classes.mjs';

/**
 * @typedef {object} Card
 * @property {string} name
 * @property {string} architecture
 * @property {string} dataset
 * @property {string} framework
 * @property {string} source_file
 * @property {Record<string, any>} metrics Figures on PublicTest; empty if nothing was measured.
 * @property {string} license
 * @property {string} intended_uses
 * @property {string} excluded_uses
 * @property {number[]} [training_shares] How often each expression was in the training images.
 */

const FORMAT_VERSION = 1;
const CARD_KEY = 'fer.card';
const DETECTOR_KEY = 'fer.detector';

/** Numbers of fields in ONNX's protobuf: `ModelProto.metadata_props`, and key and value of an entry. */
const METADATA = 14;
const KEY = 1;
const VALUE = 2;

/** Wire types of protobuf. */
const VARINT = 0;
const EIGHT_BYTES = 1;
const WITH_LENGTH = 2;
const FOUR_BYTES = 5;

/**
 * @param {Uint8Array} file A model file.
 * @returns {Card}
 * @throws {Error} if it is no model file of this format; the message is a sentence for the user.
 */
export function readCard(file) {
  /** @type {Map<string, string>} */
  let metadata;
  try {
    metadata = readMetadata(file);
  } catch {
    throw new Error('This is no ONNX file, or it is damaged.');
  }
  if (metadata.has(DETECTOR_KEY)) throw new Error('This is a face detector. Expected a model file.');
  const text = metadata.get(CARD_KEY);
  if (text === undefined) throw new Error('This file has no model card. Export it with fer-tf.');
  let card;
  try {
    card = JSON.parse(text);
  } catch {
    throw new Error('The model card is not valid JSON. Export the model again.');
  }
  if (card?.format_version !== FORMAT_VERSION) {
    throw new Error(`This is a model file of format ${card?.format_version}. The page reads format ${FORMAT_VERSION}.`);
  }
  const isComplete =
    ['name', 'architecture', 'dataset', 'license', 'excluded_uses'].every((key) => typeof card[key] === 'string') &&
    typeof card.metrics === 'object' &&
    String(card.labels) === String(CLASSES);
  if (!isComplete) throw new Error('The model card is incomplete. Export the model again.');
  const shares = card.training_shares;
  if (shares != null && !areShares(shares)) throw new Error('The model card’s training_shares are no seven shares.');
  return card;
}

/** @param {unknown} shares */
function areShares(shares) {
  if (!Array.isArray(shares) || shares.length !== CLASSES.length) return false;
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.every((share) => share >= 0 && share <= 1) && Math.abs(sum - 1) <= 1e-3;
}

/**
 * @param {Uint8Array} file An ONNX file.
 * @returns {Map<string, string>} Its metadata.
 * @throws {RangeError | TypeError} if it is another file.
 */
function readMetadata(file) {
  const metadata = new Map();
  const decoder = new TextDecoder('utf-8', { fatal: true });
  for (const [field, bytes] of fieldsOf(file)) {
    if (field !== METADATA || !bytes) continue;
    const entry = new Map(fieldsOf(bytes));
    metadata.set(decoder.decode(entry.get(KEY)), decoder.decode(entry.get(VALUE)));
  }
  return metadata;
}

/**
 * Yields number and bytes of each field of a protobuf message; the bytes are null for numbers.
 *
 * @param {Uint8Array} message
 * @returns {Generator<[number, Uint8Array | undefined]>}
 */
function* fieldsOf(message) {
  let place = 0;
  const readVarint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      if (place >= message.length || scale > 2 ** 56) throw new RangeError('the message is cut off');
      const byte = message[place++];
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
  };
  while (place < message.length) {
    const tag = readVarint();
    const type = tag % 8;
    const field = Math.floor(tag / 8);
    if (type === VARINT) {
      readVarintOf64Bits();
      yield [field, undefined];
    } else if (type === WITH_LENGTH) {
      const length = readVarint();
      if (length > message.length - place) throw new RangeError('the message is cut off');
      yield [field, message.subarray(place, (place += length))];
    } else if (type === EIGHT_BYTES || type === FOUR_BYTES) {
      place += type === EIGHT_BYTES ? 8 : 4;
      yield [field, undefined];
    } else {
      throw new RangeError(`no such type of field: ${type}`);
    }
  }

  /** Skips a number, which may be longer than JavaScript's are exact. */
  function readVarintOf64Bits() {
    while (place < message.length && message[place] >= 128) place++;
    place++;
  }
}
