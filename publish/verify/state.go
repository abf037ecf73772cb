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
	Paused              bool // a pause stands in the log
	Counted, Superseded uint64
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
		Counted: v.report.Counted, Superseded: v.report.Superseded, Held: v.report.Held,
	}
	if v.last != nil {
		st.Last = []byte(v.last.Time)
	}
	return st
}

// restore goes on where the state ends.
func (v *verification) restore(ctx context.Context, st *State) error {
	if len(st.Units) != len(v.tally.units) || len(st.Sizes) != len(v.tally.sizes) || len(st.Powered) == 0 || len(st.Notes) == 0 {
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
	v.report.Counted, v.report.Superseded = st.Counted, st.Superseded
	maps.Copy(v.report.Held, st.Held)
	copy(v.tally.units, st.Units)
	copy(v.tally.sizes, st.Sizes)
	for u := range v.tally.units {
		if v.tally.units[u].Revision != 0 {
			v.tally.add(schemas.UnitIndex(u), v.tally.counted(schemas.UnitIndex(u)), 1)
		}
	}
	return nil
}

// stateKind begins a state file; the hash of what follows stands behind it.
const stateKind = "tallystream/verify-state/v1\n"

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
