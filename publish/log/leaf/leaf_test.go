package leaf_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"tallystream/publish/log"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// What Decode adds to what was given, and what is not exported but follows.
var parsed = cmp.Options{
	cmpopts.IgnoreFields(leaf.Submission{}, "Envelope"), cmpopts.IgnoreFields(leaf.Snapshot{}, "Snapshot"),
	cmpopts.IgnoreFields(leaf.Release{}, "Release"),
	cmp.AllowUnexported(leaf.Statement{}), cmpopts.EquateEmpty(),
}

func TestEveryKindIsReadAsItWasWritten(t *testing.T) {
	kinds := map[leaf.Kind]bool{}
	for name, l := range all(t) {
		b, err := leaf.Append([]byte("before"), l)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		b = b[len("before"):]
		if !bytes.HasPrefix(b, []byte(string(l.Kind())+"\n")) {
			t.Errorf("%s begins with %.40q", name, b)
		}
		got, err := leaf.Decode(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(l, got, parsed); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		kinds[got.Kind()] = true
	}
	for _, k := range leaf.Kinds {
		if !kinds[k] {
			t.Errorf("no example of %s", k)
		}
	}
}

func TestAReadSubmissionHasItsEnvelopeOpen(t *testing.T) {
	b, err := leaf.Append(nil, submission(t, "{}"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := leaf.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	s := l.(*leaf.Submission)
	if string(s.Envelope.Body) != "{}" || s.Envelope.Digest != schemas.DigestOf([]byte("{}")) || len(s.Envelope.Signatures()) != 1 {
		t.Errorf("%+v", s.Envelope)
	}
}

// Any one byte changed gives an error or a leaf that says something else in
// other bytes: never the same leaf.
func TestALeafHasOneSpelling(t *testing.T) {
	examples := all(t)
	var names []string
	for name := range examples {
		names = append(names, name)
	}
	slices.Sort(names)
	rapid.Check(t, func(rt *rapid.T) {
		l := examples[rapid.SampledFrom(names).Draw(rt, "leaf")]
		b, err := leaf.Append(nil, l)
		if err != nil {
			rt.Fatal(err)
		}
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "at")
		changed := bytes.Clone(b)
		switch rapid.IntRange(0, 2).Draw(rt, "change") {
		case 0:
			changed[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
		case 1:
			changed = append(changed[:at:at], changed[at+1:]...)
		case 2:
			changed = append(changed[:at:at], append([]byte{rapid.Byte().Draw(rt, "byte")}, b[at:]...)...)
		}
		got, err := leaf.Decode(changed)
		if err != nil || bytes.Equal(changed, b) {
			return
		}
		if cmp.Equal(l, got, parsed) {
			rt.Fatalf("two spellings of one leaf:\n%q\n%q", b, changed)
		}
	})
}

func TestAWrongLeafIsRefusedWithItsLine(t *testing.T) {
	good := func(name string) string {
		b, err := leaf.Append(nil, all(t)[name])
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, c := range []struct{ name, old, new, want string }{
		{"submission", "outcome counted", "outcome held", "line 2: outcome: want counted or superseded"},
		{"submission", "partition 3", "partition 03", "line 3: partition: want a whole number"},
		{"submission", "partition 3", "partition 65536", "line 3: partition: want a whole number"},
		{"submission", "seq 17", "seq 0", "line 4: seq"},
		{"submission", "unit leon-001\n", "unit leon-002\n", "its record is of another unit"},
		{"submission", "revision 2\n", "revision 3\n", "its record is of another unit or revision"},
		{"submission", "\nbytes ", "\nbytes 1", "line 8: "},
		{"submission", "/v1\nout", "/v2\nout", "unknown kind"},
		{"hold", "code count-lowered", "code Count", "line 2: code"},
		{"hold", "sha256 ", "sha256 0", "sha256: digest"},
		{"poison", "sha256 ", "sha265 ", "want sha256"},
		{"poison", "revision 0", "revision 1", "only poison may name no unit, and then no revision"},
		{"hold", "unit leon-001\nrevision 3\nsha", "unit -\nrevision 0\nsha", "only poison may name no unit"},
		{"release", "outcome released", "outcome counted", "line 2: outcome: want released or lapsed"},
		{"release", "hold 18", "hold 21", "line 7: hold: want an entry before this one"},
		{"release", "hold 18", "hold 0", "line 7: hold: want a whole number"},
		{"release", "unit leon-001\nrevision 3\nhold", "unit leon-001\nrevision 4\nhold", "its record is of another unit or revision"},
		{"release", "reason checked", "reason cheered", "/release/reason"},
		{"release of nothing", "sha256 ", "sha256 0", "sha256: digest"},
		{"definition", "threshold 1", "threshold 3", "threshold 3 of 2 root keys"},
		{"definition", "threshold 1", "threshold 0", "threshold 0 of 2 root keys"},
		{"definition", "key log ", "key roster ", "key: want log, snapshot or receipt"},
		{"definition without roots", "threshold 0", "threshold 1", "threshold 1 of 0"},
		{"pause", "reason books-differ", "reason Books-differ", "reason: want an identifier"},
		{"pause", "time 2026-11-03T23:10:00.000Z", "time 2026-11-31T23:10:00.000Z", "time: want"},
		{"resume", "/resume/v1\ntime", "/pauses/v1\ntime", "want a first line that ends in /resume/v1"},
		{"roster", "number 1", "number 0", "number: want"},
		{"definition", "origin results", "origin\u00a0results", "line 2: want origin"},
		{"definition", "origin results", "origin \u2003results", "origin: want a URL"},
		{"definition", "origin results", "origin a+results", "origin: want a URL"},
		{"snapshot", "number 12", "number 1x", "number"},
		{"sealed", "commitment ", "commitment 1", "commitment: digest"},
		{"sealed", "outcome counted", "outcome hidden", "outcome: want one of"},
		{"sealed", "outcome counted", "outcome held", "want code"},
		{"sealed hold", "unit leon-001", "unit -", "only poison"},
		{"sealed release", "hold 22", "hold 24", "want an entry before this one"},
	} {
		text := good(c.name)
		if !strings.Contains(text, c.old) {
			t.Fatalf("%s has no %q:\n%s", c.name, c.old, text)
		}
		_, err := leaf.Decode([]byte(strings.Replace(text, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %q: %v, want %q", c.name, c.new, err, c.want)
		}
	}
	if _, err := leaf.Decode([]byte("tallystream/leaf/gossip/v1\n")); !errors.Is(err, leaf.ErrKind) {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := leaf.Decode(make([]byte, log.MaxLeaf+1)); err == nil {
		t.Error("a leaf that no bundle can hold")
	}
}

func TestASnapshotsNoteSaysNothingMore(t *testing.T) {
	good := all(t)["snapshot"].(*leaf.Snapshot)
	text, _, _ := strings.Cut(string(good.Note), "\n\n")
	more := &leaf.Snapshot{Note: signed(t, []byte(text+"\n\nand something else\n"), origin+"/publish")}
	if _, err := leaf.Append(nil, more); err == nil || !strings.Contains(err.Error(), "says more") {
		t.Errorf("%v", err)
	}
}

func TestTheLargestEnvelopeFitsALeaf(t *testing.T) {
	s := submission(t, strings.Repeat("x", schemas.MaxBody))
	s.Partition, s.Seq = 1<<16-1, 1<<64-1
	b, err := leaf.Append(nil, s)
	if err != nil || len(b) > log.MaxLeaf {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestAFieldCannotBringALineOfItsOwn(t *testing.T) {
	d := all(t)["definition without roots"].(*leaf.Definition)
	_, root := key(t, "root.example/1")
	d.Keys = []leaf.RoleKey{{Role: leaf.LogKey, Key: root + "\nkey log " + root}}
	if b, err := leaf.Append(nil, d); err == nil {
		t.Errorf("written:\n%s", b)
	}
}

func TestASealOpensForWhatWasSealedOnly(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		salt := [leaf.SaltSize]byte(rapid.SliceOfN(rapid.Byte(), leaf.SaltSize, leaf.SaltSize).Draw(rt, "salt"))
		sub := submission(t, `{"votes":1}`)
		sealed, err := leaf.Seal(sub, salt)
		if err != nil {
			rt.Fatal(err)
		}
		b, err := leaf.Append(nil, sub)
		if err != nil {
			rt.Fatal(err)
		}
		l, err := sealed.Open(b, salt)
		if got, ok := l.(*leaf.Submission); err != nil || !ok || !bytes.Equal(got.Record, sub.Record) {
			rt.Fatal(err)
		}
		other := salt
		other[rapid.IntRange(0, leaf.SaltSize-1).Draw(rt, "byte")] ^= 1
		if _, err := sealed.Open(b, other); !errors.Is(err, leaf.ErrSeal) {
			rt.Fatalf("another salt: %v", err)
		}
		more, err := leaf.Append(nil, submission(t, `{"votes":2}`))
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := sealed.Open(more, salt); !errors.Is(err, leaf.ErrSeal) {
			rt.Fatalf("another submission: %v", err)
		}
		for _, lie := range []func(*leaf.Sealed){
			func(s *leaf.Sealed) { s.Seq++ }, func(s *leaf.Sealed) { s.Partition++ }, func(s *leaf.Sealed) { s.Unit = "leon-002" },
			func(s *leaf.Sealed) { s.Revision++ }, func(s *leaf.Sealed) { s.Outcome = schemas.EntrySuperseded },
			func(s *leaf.Sealed) { s.Outcome, s.Code = schemas.EntryHeld, schemas.HoldLowered },
			func(s *leaf.Sealed) { s.Outcome, s.Hold = schemas.EntryReleased, 1 },
		} {
			lying := *sealed
			lie(&lying)
			if _, err := lying.Open(b, salt); !errors.Is(err, leaf.ErrSeal) {
				rt.Fatalf("a seal that says otherwise: %v", err)
			}
		}
		out, err := leaf.Append(nil, sealed)
		if err != nil || bytes.Contains(out, []byte("votes")) || bytes.Contains(out, []byte(schemas.DigestOf([]byte(`{"votes":1}`)).String())) {
			rt.Fatalf("a seal that shows its inside: %q, %v", out, err)
		}
	})
}

// TestEveryEntryOfALedgerCanBeSealed, and nothing else.
func TestEveryEntryOfALedgerCanBeSealed(t *testing.T) {
	salt := [leaf.SaltSize]byte{9}
	for name, l := range all(t) {
		var entry bool
		switch l.(type) {
		case *leaf.Submission, *leaf.Hold, *leaf.Release:
			entry = true
		}
		sealed, err := leaf.Seal(l, salt)
		if (err == nil) != entry {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		inside, err := leaf.Append(nil, l)
		if err != nil {
			t.Fatal(err)
		}
		outside, err := leaf.Append(nil, sealed)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		again, err := leaf.Decode(outside)
		if err != nil || *again.(*leaf.Sealed) != *sealed {
			t.Errorf("%s: %v\n%s", name, err, outside)
		}
		if opened, err := sealed.Open(inside, salt); err != nil || opened.Kind() != l.Kind() {
			t.Errorf("%s: %v", name, err)
		}
	}
}
