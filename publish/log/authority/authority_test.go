package authority_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"pgregory.net/rapid"

	"tallystream/publish/log"
	"tallystream/publish/log/authority"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

const origin = "results.example.org/test"

func key(t testing.TB, name string) (note.Signer, string) {
	t.Helper()
	seed := sha256.Sum256([]byte("test key " + name))
	private, verifier, err := note.GenerateKey(bytes.NewReader(seed[:]), name)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer, verifier
}

func vkey(t testing.TB, name string) string {
	_, v := key(t, name)
	return v
}

func file(s string) leaf.File {
	return leaf.File{Digest: schemas.DigestOf([]byte(s)), Bytes: uint64(len(s))}
}

func genesis(t testing.TB, threshold int, roots ...string) *leaf.Definition {
	d := &leaf.Definition{
		Origin: origin, Election: "test", Definition: file("definition"), Roster: file("roster"), Threshold: threshold,
		Keys: []leaf.RoleKey{{Role: leaf.LogKey, Key: vkey(t, "log/1")}, {Role: leaf.SnapshotKey, Key: vkey(t, "snapshot/1")}},
	}
	for _, r := range roots {
		d.Roots = append(d.Roots, vkey(t, r))
	}
	return d
}

// sign finishes a statement, and reads it as it would come out of the log.
func sign(t testing.TB, s *leaf.Statement, by ...string) leaf.Leaf {
	t.Helper()
	var signers []note.Signer
	for _, name := range by {
		k, _ := key(t, name)
		signers = append(signers, k)
	}
	var err error
	if s.Note, err = log.Sign(s.AppendText(nil), signers...); err != nil {
		t.Fatal(err)
	}
	b, err := leaf.Append(nil, s)
	if err != nil {
		t.Fatal(err)
	}
	l, err := leaf.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func roster(number uint64, content string) *leaf.Statement {
	s := leaf.NewStatement(leaf.KindRoster, origin, number)
	s.File = file(content)
	return s
}

func change(number uint64, c leaf.Change, role leaf.KeyRole, key string) *leaf.Statement {
	s := leaf.NewStatement(leaf.KindKey, origin, number)
	s.Change, s.Key = c, leaf.RoleKey{Role: role, Key: key}
	return s
}

func open(t testing.TB, d *leaf.Definition) *authority.Authority {
	t.Helper()
	a := authority.New()
	if err := a.Apply(0, d); err != nil {
		t.Fatal(err)
	}
	return a
}

func apply(t testing.TB, a *authority.Authority, index int64, l leaf.Leaf) {
	t.Helper()
	if err := a.Apply(index, l); err != nil {
		t.Fatal(err)
	}
}

func names(keys []note.Verifier) (out []string) {
	for _, k := range keys {
		out = append(out, k.Name())
	}
	return out
}

func TestAKeyIsHandedOverWithOverlapAtIndexesThatAllAgreeOn(t *testing.T) {
	a := open(t, genesis(t, 2, "r1", "r2", "r3"))
	apply(t, a, 10, sign(t, change(1, leaf.AddKey, leaf.LogKey, vkey(t, "log/2")), "r1", "r3"))
	apply(t, a, 20, sign(t, change(2, leaf.RevokeKey, leaf.LogKey, vkey(t, "log/1")), "r2", "r3"))
	for index, want := range map[int64][]string{
		0: {"log/1"}, 10: {"log/1"}, 11: {"log/1", "log/2"}, 20: {"log/1", "log/2"}, 21: {"log/2"}, 1000: {"log/2"},
	} {
		if got := names(a.At(index).Keys(leaf.LogKey)); !slices.Equal(got, want) {
			t.Errorf("at %d: %v, want %v", index, got, want)
		}
		if got := names(a.At(index).Keys(leaf.SnapshotKey)); !slices.Equal(got, []string{"snapshot/1"}) {
			t.Errorf("snapshot keys at %d: %v", index, got)
		}
	}
	// A checkpoint's key is looked up at its size.
	oldKey, _ := key(t, "log/1")
	for size, ok := range map[int64]bool{20: true, 21: false} {
		c := &log.Checkpoint{Origin: "log/1"}
		c.Tree.N = size
		b, err := c.Sign(oldKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := log.OpenCheckpoint(b, a.At(size).Keys(leaf.LogKey)...); (err == nil) != ok {
			t.Errorf("a checkpoint of size %d by the old key: %v", size, err)
		}
	}
}

func TestFewerThanTheThresholdChangeNothing(t *testing.T) {
	for _, by := range [][]string{{"r1"}, {"r1", "r1"}, {"r1", "stranger"}, {"stranger", "stranger/2"}} {
		a := open(t, genesis(t, 2, "r1", "r2", "r3"))
		if err := a.Apply(5, sign(t, roster(1, "new"), by...)); !errors.Is(err, authority.ErrThreshold) {
			t.Errorf("by %v: %v", by, err)
		}
		if a.At(6).Roster != file("roster") {
			t.Errorf("by %v: the roster changed", by)
		}
		apply(t, a, 5, sign(t, roster(1, "new"), "r2", "r1"))
		if a.At(5).Roster != file("roster") || a.At(6).Roster != file("new") {
			t.Error("the change takes effect behind its leaf")
		}
	}
}

func TestAStatementIsGoodOnceAndInItsTurn(t *testing.T) {
	a := open(t, genesis(t, 1, "r1"))
	first := sign(t, roster(1, "new"), "r1")
	if err := a.Apply(4, sign(t, roster(2, "newer"), "r1")); !errors.Is(err, authority.ErrOrder) {
		t.Errorf("the second first: %v", err)
	}
	apply(t, a, 5, first)
	if err := a.Apply(6, first); !errors.Is(err, authority.ErrOrder) {
		t.Errorf("twice: %v", err)
	}
	if err := a.Apply(5, sign(t, roster(2, "newer"), "r1")); err == nil {
		t.Error("an index twice")
	}
	if err := a.Apply(7, sign(t, roster(2, "new"), "r1")); !errors.Is(err, authority.ErrNoChange) {
		t.Errorf("what is so already: %v", err)
	}
	foreign := leaf.NewStatement(leaf.KindRoster, "elsewhere.example", 2)
	foreign.File = file("newer")
	if err := a.Apply(7, sign(t, foreign, "r1")); err == nil {
		t.Error("a statement of another election")
	}
	forged := sign(t, roster(2, "newer"), "r1").(*leaf.Statement)
	forged.File = file("forged")
	if err := a.Apply(7, forged); err == nil {
		t.Error("a statement that says otherwise than its note")
	}
	apply(t, a, 7, sign(t, roster(2, "newer"), "r1"))
}

func TestSomebodyCanAlwaysSign(t *testing.T) {
	a := open(t, genesis(t, 1, "r1"))
	if err := a.Apply(1, sign(t, change(1, leaf.RevokeKey, leaf.LogKey, vkey(t, "log/1")), "r1")); !errors.Is(err, authority.ErrLast) {
		t.Errorf("%v", err)
	}
}

func TestWithoutRootKeysNothingChanges(t *testing.T) {
	a := open(t, genesis(t, 0))
	if err := a.Apply(1, sign(t, roster(1, "new"), "r1")); !errors.Is(err, authority.ErrFixed) {
		t.Errorf("%v", err)
	}
	if got := names(a.At(99).Keys(leaf.LogKey)); !slices.Equal(got, []string{"log/1"}) || a.At(99).Roster != file("roster") {
		t.Errorf("powers %+v", a.At(99))
	}
}

func TestTheDefinitionIsTheFirstLeafAndNoOther(t *testing.T) {
	a := authority.New()
	if a.At(0) != nil {
		t.Error("powers out of nothing")
	}
	for index, l := range map[int64]leaf.Leaf{0: &leaf.Snapshot{}, 1: genesis(t, 0), 2: &leaf.Snapshot{}} {
		if err := authority.New().Apply(index, l); !errors.Is(err, authority.ErrGenesis) {
			t.Errorf("leaf %d: %v", index, err)
		}
	}
	apply(t, a, 0, genesis(t, 0))
	if err := a.Apply(1, genesis(t, 0)); !errors.Is(err, authority.ErrGenesis) {
		t.Errorf("a second one: %v", err)
	}
	apply(t, a, 2, &leaf.Snapshot{}) // others pass through
}

func TestRootsHandOverOnlyToKeysThatCanSign(t *testing.T) {
	roots := func(number uint64, threshold int, names ...string) *leaf.Statement {
		s := leaf.NewStatement(leaf.KindRoots, origin, number)
		s.Threshold = threshold
		for _, n := range names {
			s.Roots = append(s.Roots, vkey(t, n))
		}
		return s
	}
	a := open(t, genesis(t, 2, "r1", "r2", "r3"))
	for _, by := range [][]string{{"r1", "r2"}, {"n1", "n2"}, {"r1", "r2", "n1"}, {"r1", "n1", "n2"}} {
		if err := a.Apply(1, sign(t, roots(1, 2, "n1", "n2"), by...)); !errors.Is(err, authority.ErrThreshold) {
			t.Errorf("by %v: %v", by, err)
		}
	}
	apply(t, a, 1, sign(t, roots(1, 2, "n1", "n2"), "r1", "r2", "n1", "n2"))
	if err := a.Apply(2, sign(t, roster(2, "new"), "r1", "r2")); !errors.Is(err, authority.ErrThreshold) {
		t.Errorf("by the old keys: %v", err)
	}
	apply(t, a, 2, sign(t, roster(2, "new"), "n1", "n2"))
	if got := names(a.At(1).Roots()); len(got) != 3 {
		t.Errorf("roots at 1: %v", got)
	}
}

func TestARevokedOfficialMayNotSignBehindThatLeaf(t *testing.T) {
	definition, err := json.Marshal(map[string]any{
		"schema": schemas.DefinitionSchema, "election": "test", "name": "Test", "date": "2026-11-03", "origin": origin,
		"countTypes": []string{"election-day"}, "partitions": 1, "signatures": 1, "rules": map[string]bool{"ballots": false, "registered": false},
		"states":   []map[string]string{{"id": "fl", "name": "Florida"}},
		"counties": []map[string]string{{"id": "leon", "name": "Leon", "state": "fl"}},
		"contests": []map[string]any{{"id": "mayor", "name": "Mayor", "kind": "candidate", "votesAllowed": 1, "residuals": "none",
			"selections": []map[string]string{{"id": "a", "name": "A"}, {"id": "b", "name": "B"}}}},
		"styles": []map[string]any{{"id": "all", "contests": []string{"mayor"}}},
		"units":  []map[string]string{{"id": "leon-001", "name": "One", "county": "leon", "kind": "precinct", "style": "all"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := schemas.OpenElection(definition)
	if err != nil {
		t.Fatal(err)
	}
	rosterOf := func(list ...string) []byte {
		r := schemas.Roster{Schema: schemas.RosterSchema, Election: "test"}
		for _, n := range list {
			r.Keys = append(r.Keys, schemas.KeyEntry{Key: vkey(t, n), Role: schemas.Official})
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	first, second := rosterOf("o1", "o2"), rosterOf("o1", "o2", "o3")
	d := genesis(t, 1, "r1")
	d.Roster = file(string(first))
	a := open(t, d)
	apply(t, a, 10, sign(t, change(1, leaf.RevokeKey, leaf.RosterKey, vkey(t, "o1")), "r1"))
	apply(t, a, 20, sign(t, roster(2, string(second)), "r1"))
	for _, c := range []struct {
		index int64
		bytes []byte
		want  []string
	}{{10, first, []string{"o1", "o2"}}, {11, first, []string{"o2"}}, {21, second, []string{"o2", "o3"}}} {
		ring, err := a.At(c.index).Keyring(c.bytes, e)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range []string{"o1", "o2", "o3"} {
			if ring.Lookup([]byte(n)) != nil {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("at %d: %v, want %v", c.index, got, c.want)
		}
	}
	if _, err := a.At(21).Keyring(first, e); err == nil {
		t.Error("an old roster's bytes passed for the new one's")
	}
}

// describe says everything that powers are.
func describe(p *authority.Powers) string {
	out := fmt.Sprint(p.Origin, p.Definition, p.Roster, p.Threshold, p.Statements, p.RevokedKeys(), names(p.Roots()))
	for _, role := range []leaf.KeyRole{leaf.LogKey, leaf.SnapshotKey, leaf.ReceiptKey} {
		for _, k := range p.Keys(role) {
			out += fmt.Sprintf(" %s %s+%08x", role, k.Name(), k.KeyHash())
		}
	}
	return out
}

// Whoever replays the log, in one go or leaving out what changes no power, sees
// the same powers at each index, and what was seen once never changes.
func TestAllAuditorsAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a, late := open(t, genesis(t, 1, "r1")), open(t, genesis(t, 1, "r1"))
		var leaves []leaf.Leaf
		index, number := int64(0), uint64(0)
		seen := map[int64]string{}
		for range rapid.IntRange(0, 12).Draw(rt, "leaves") {
			index++
			seen[index] = describe(a.At(index))
			var l leaf.Leaf = &leaf.Snapshot{}
			role := rapid.SampledFrom([]leaf.KeyRole{leaf.LogKey, leaf.SnapshotKey, leaf.ReceiptKey, leaf.RosterKey}).Draw(rt, "role")
			name := rapid.SampledFrom([]string{"log/1", "k1", "k2"}).Draw(rt, "key")
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				l = sign(t, roster(number+1, fmt.Sprint("roster ", index)), "r1")
			case 1:
				l = sign(t, change(number+1, leaf.RevokeKey, role, vkey(t, name)), "r1")
			case 2:
				if role != leaf.RosterKey {
					l = sign(t, change(number+1, leaf.AddKey, role, vkey(t, name)), "r1")
				}
			}
			err := a.Apply(index, l)
			if err != nil && !errors.Is(err, authority.ErrNoChange) && !errors.Is(err, authority.ErrLast) {
				rt.Fatal(err)
			}
			if _, ok := l.(*leaf.Statement); !ok || err != nil {
				l = nil
			} else {
				number++
			}
			leaves = append(leaves, l)
		}
		for i, l := range leaves {
			if l != nil {
				apply(t, late, int64(i+1), l)
			}
		}
		for i, want := range seen {
			if got := describe(a.At(i)); got != want {
				rt.Fatalf("the past of %d changed:\n%s\n%s", i, want, got)
			}
			if got := describe(late.At(i)); got != want {
				rt.Fatalf("at %d one sees\n%s\nanother\n%s", i, got, want)
			}
		}
	})
}
