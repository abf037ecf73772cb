package verify

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// State is what a run leaves to the next one, so that it reads only what is
// new. It belongs to one election and one key, and must come from nobody but the
// reader: whoever writes it decides what was verified.
type State struct {
	Origin, Key string
	Definition  schemas.Digest // of the election's definition

	Frontier Frontier
	Powered  []Power // leaves that say who may sign
	Notes    []schemas.Digest
	Last     []byte // text of the last snapshot in the log
	Compared schemas.SnapshotNumber
	Named    map[string]schemas.ManifestEntry // its files

	Units               []unitState
	Sizes               []uint64
	Paused              bool          // a pause stands in the log
	Moved               [][]uint32    // by county: movements by section
	Holds               [][]heldState // by partition
	Moves               [][][]byte    // likewise: lines of movements
	Counted, Superseded uint64
	Released, Lapsed    uint64
	Sealed              uint64                           // leaves
	Fresh               map[schemas.UnitIndex]freshState // of hidden units
	Taken               [][]takenState                   // by remainder
	Held                map[schemas.HoldCode]uint64
}

// Frontier is the tree that was verified; Power a leaf that changes who may
// sign.
type (
	Frontier = frontier
	Power    = indexed
)

// state is what the run leaves.
func (v *verification) state() *State {
	st := &State{
		Origin: v.report.Origin, Key: v.key, Definition: v.election.Hash, Frontier: v.frontier, Powered: v.powered, Notes: v.notes,
		Paused: v.paused, Compared: v.compared, Named: v.named, Units: v.tally.units, Sizes: v.tally.sizes,
		Moved: v.tally.moved, Holds: v.tally.holds, Moves: v.tally.moves, Released: v.report.Released, Lapsed: v.report.Lapsed,
		Counted: v.report.Counted, Superseded: v.report.Superseded, Held: v.report.Held,
	}
	v.tally.hidden.save(st)
	if v.last != nil {
		st.Last = []byte(v.last.Time)
	}
	return st
}

// restore goes on where the state ends.
func (v *verification) restore(ctx context.Context, st *State) error {
	if len(st.Units) != len(v.tally.units) || len(st.Sizes) != len(v.tally.sizes) || !v.tally.fits(st) || !v.tally.hidden.fits(st) || len(st.Powered) == 0 || len(st.Notes) == 0 {
		return ErrState
	}
	for _, p := range st.Powered[1:] { // the first is the definition, which was read
		l, err := leaf.Decode(p.Leaf)
		if err == nil {
			err = v.auth.Apply(p.Index, l)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
	}
	if v.powered = st.Powered; len(st.Powered) > 1 {
		if err := v.openRoster(ctx, v.auth.At(st.Frontier.Size)); err != nil {
			return err
		}
	}
	v.frontier = frontier{st.Frontier.Size, append(st.Frontier.Roots[:0:0], st.Frontier.Roots...)}
	v.paused = st.Paused
	v.notes, v.compared = append(st.Notes[:0:0], st.Notes...), st.Compared
	maps.Copy(v.named, st.Named)
	v.last = &schemas.Snapshot{Time: string(st.Last)}
	v.report.Counted, v.report.Superseded, v.report.Released, v.report.Lapsed = st.Counted, st.Superseded, st.Released, st.Lapsed
	maps.Copy(v.report.Held, st.Held)
	v.tally.restore(st)
	return nil
}

// fits reports whether a state's lists are those of an election like this.
func (t *tally) fits(st *State) bool {
	if len(st.Moved) != len(t.moved) || len(st.Holds) != len(t.holds) || len(st.Moves) != len(t.moves) {
		return false
	}
	for c := range st.Moved {
		if len(st.Moved[c]) != len(t.moved[c]) {
			return false
		}
	}
	for u := range st.Units {
		sections := len(t.election.Units[u].Style.Sections)
		if n := len(st.Units[u].Moved); n != 0 && n != sections {
			return false
		}
		holds := len(st.Holds[t.election.PartitionOf(schemas.UnitIndex(u))])
		for _, i := range st.Units[u].Holds {
			if i < 0 || i >= holds {
				return false
			}
		}
	}
	for _, holds := range st.Holds {
		for i := range holds {
			if u := holds[i].Unit; u < -1 || int(u) >= len(t.units) {
				return false
			}
		}
	}
	return true
}

// restore takes a state over. What it holds is copied where it will change.
func (t *tally) restore(st *State) {
	copy(t.units, st.Units)
	copy(t.sizes, st.Sizes)
	for c := range st.Moved {
		t.moved[c] = slices.Clone(st.Moved[c])
	}
	for p := range st.Holds {
		t.holds[p], t.moves[p] = slices.Clone(st.Holds[p]), slices.Clone(st.Moves[p])
	}
	for u := range t.units {
		unit := &t.units[u]
		unit.Moved, unit.Holds = slices.Clone(unit.Moved), slices.Clone(unit.Holds)
		if t.listed(schemas.UnitIndex(u)) {
			cells := t.counted(schemas.UnitIndex(u))
			t.add(schemas.UnitIndex(u), cells, 1)
			t.countRow(schemas.UnitIndex(u), cells, 1)
		}
	}
	t.restoreHidden(st)
}

// stateKind begins a state file; the hash of what follows stands behind it.
const stateKind = "tallystream/verify-state/v2\n"

// Encode is the state as it is kept.
func (st *State) Encode() ([]byte, error) {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(st); err != nil {
		return nil, fmt.Errorf("writing the state: %w", err)
	}
	head := stateKind + schemas.DigestOf(body.Bytes()).String() + "\n"
	return append([]byte(head), body.Bytes()...), nil
}

// DecodeState reads what Encode made; where says where it lies, for errors. A
// damaged one is an error, never a log that was not seen.
func DecodeState(b []byte, where string) (*State, error) {
	const head = len(stateKind) + 2*len(schemas.Digest{}) + 1
	damaged := fmt.Errorf("reading the state: %s is damaged, or no state file of this version", where)
	if len(b) < head || string(b[:len(stateKind)]) != stateKind {
		return nil, damaged
	}
	if sum := schemas.DigestOf(b[head:]); hex.EncodeToString(sum[:])+"\n" != string(b[len(stateKind):head]) {
		return nil, damaged
	}
	st := new(State)
	if err := gob.NewDecoder(bytes.NewReader(b[head:])).Decode(st); err != nil {
		return nil, errors.Join(damaged, err)
	}
	return st, nil
}

// WriteState writes a state file, whole or not at all.
func WriteState(path string, st *State) (err error) {
	b, err := st.Encode()
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing the state: %w", err), os.Remove(f.Name()))
		}
	}()
	if _, err = f.Write(b); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// ReadState reads a state file; nil if there is none yet.
func ReadState(path string) (*State, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	return DecodeState(b, path)
}
