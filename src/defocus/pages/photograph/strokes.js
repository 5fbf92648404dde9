// What was painted, kept beside a photograph by the server; in step with what other pages and programs keep there.

const ATTEMPTS = 5; // at keeping strokes while others keep theirs

// The strokes that are kept of each photograph, as far as this page knows. `act` has solving(index), kept(index, merged):
// whether others had painted too; and failed(index, error), after which the strokes are not kept.
export class KeptStrokes {
  constructor(carrier, act) {
    Object.assign(this, {carrier, act, known: new Map(), waiting: new Map(), sending: false});
  }

  learn(index, info) {
    this.known.set(index, {version: info.strokes_version, strokes: info.strokes});
  }

  // Whether a photograph of the list has other strokes than this page knows of; not while it sends some itself.
  isBehind(frame) {
    const known = this.known.get(frame.index);
    return !this.sending && known !== undefined && frame.strokes_version !== undefined && frame.strokes_version !== known.version;
  }

  // Keep what was painted on the strokes `base`; what is painted meanwhile goes along with the next request.
  async send(index, base, strokes) {
    this.waiting.set(index, {base, strokes});
    if (this.sending) return;
    this.sending = true;
    while (this.waiting.size) {
      const [next, painted] = this.waiting.entries().next().value;
      this.waiting.delete(next);
      this.act.solving(next);
      let merged = false, fault = null;
      try {
        merged = await this.keep(next, painted);
      } catch (error) {
        fault = error;
      }
      if (this.waiting.has(next)) continue; // which has what these were, and more
      if (fault) this.act.failed(next, fault);
      else this.act.kept(next, merged);
    }
    this.sending = false;
  }

  async keep(index, {base, strokes: painted}) {
    for (let attempt = 1; ; attempt++) {
      const {version, strokes: there} = this.known.get(index), strokes = together(base, there, painted);
      try {
        const told = await this.carrier.send(index, 'strokes', {strokes, began_from: version});
        this.known.set(index, {version: told.version, strokes});
        return strokes.map(named).join() !== painted.map(named).join();
      } catch (error) {
        if (error.status !== 409 || attempt === ATTEMPTS) throw error;
        this.learn(index, await this.carrier.info(index));
      }
    }
  }
}

// What was painted (`mine`) and what others have painted (`theirs`) since both began from `base`: what one of them took
// back is gone, and what was painted here lies above.
export function together(base, theirs, mine) {
  const before = new Set(base.map(named)), kept = new Set(mine.map(named));
  const others = theirs.filter(stroke => kept.has(named(stroke)) || !before.has(named(stroke)));
  const there = new Set(theirs.map(named));
  return [...others, ...mine.filter(stroke => !before.has(named(stroke)) && !there.has(named(stroke)))];
}

function named({kind, radius, points, place}) {
  return JSON.stringify([kind, radius, points, place ?? null]);
}
