/** The pictures that were opened, small, to go back to. */

/** Most pictures that are shown; the tables have them all. */
const MOST = 60;

export class Strip {
  /** @type {WeakSet<File>} */
  #files = new WeakSet();

  /**
   * @param {HTMLElement} list
   * @param {(file: File) => void} onChoose
   */
  constructor(list, onChoose) {
    this.list = list;
    this.onChoose = onChoose;
  }

  /**
   * @param {File} file A picture.
   * @returns {boolean} Whether it is new.
   */
  add(file) {
    if (this.#files.has(file)) return false;
    this.#files.add(file);
    this.list.append(this.#itemOf(file));
    if (this.list.children.length > MOST) {
      const [first] = this.list.children;
      URL.revokeObjectURL(first.querySelector('img')?.src ?? '');
      first.remove();
    }
    this.list.hidden = this.list.children.length < 2;
    return true;
  }

  /** @param {File} file */
  #itemOf(file) {
    const image = Object.assign(new Image(), { src: URL.createObjectURL(file), alt: file.name, loading: 'lazy' });
    const button = Object.assign(document.createElement('button'), { type: 'button', title: file.name });
    button.addEventListener('click', () => this.onChoose(file));
    button.append(image);
    const item = document.createElement('li');
    item.append(button);
    return item;
  }
}
