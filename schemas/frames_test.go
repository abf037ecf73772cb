package schemas_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tallystream/schemas"
)

var (
	frameLine  = []byte(`{"contest":"c","unit":"a","reporting":1,"units":2,"votes":{"x":[1,2]}}`)
	frameLineB = []byte(`{"contest":"c","unit":"b","reporting":1,"units":2,"votes":{"contest":[1,2]}}`)
	someHash   = schemas.DigestOf([]byte("some"))
)

func TestFramesAreReadAsTheyWereWritten(t *testing.T) {
	hello := &schemas.Hello{Epoch: 3, Log: 40, Snapshot: 5}
	if got, err := schemas.ParseHello(hello.AppendFrame(nil)); err != nil || *got != *hello {
		t.Errorf("hello: %+v, %v", got, err)
	}
	snap := &schemas.Snap{Epoch: 3, Document: "contest/c", Version: 40, Hash: someHash, Key: "documents/aa/bb.ndjson"}
	if got, err := schemas.ParseSnap(snap.AppendFrame(nil)); err != nil || *got != *snap {
		t.Errorf("snap: %+v, %v", got, err)
	}
	ping := &schemas.Ping{Epoch: 3, Log: 40, Snapshot: 5, Micros: 1_700_000_000_000_000}
	if got, err := schemas.ParsePing(ping.AppendFrame(nil)); err != nil || *got != *ping {
		t.Errorf("ping: %+v, %v", got, err)
	}
	bye := &schemas.Bye{Reason: "drain", Milliseconds: 1500}
	if got, err := schemas.ParseBye(bye.AppendFrame(nil)); err != nil || *got != *bye {
		t.Errorf("bye: %+v, %v", got, err)
	}
	sub := &schemas.Subscribe{
		Documents: []schemas.DocumentID{"election", "contest/c", schemas.AllDocuments}, Epoch: 3,
		Versions: map[schemas.DocumentID]schemas.Version{"election": 0, "contest/c": 17},
	}
	got, not, err := schemas.ParseClientFrame(sub.AppendFrame(nil))
	if diff := cmp.Diff(sub, got); err != nil || not != nil || diff != "" {
		t.Errorf("sub: %v %s", err, diff)
	}
	unsub := &schemas.Unsubscribe{Documents: sub.Documents}
	no, ended, err := schemas.ParseClientFrame(unsub.AppendFrame(nil))
	if diff := cmp.Diff(unsub, ended); err != nil || no != nil || diff != "" {
		t.Errorf("unsub: %v %s", err, diff)
	}
	for kind, frame := range map[schemas.FrameKind][]byte{
		schemas.FrameHello: hello.AppendFrame(nil), schemas.FrameSnap: snap.AppendFrame(nil), schemas.FramePing: ping.AppendFrame(nil),
		schemas.FrameBye: bye.AppendFrame(nil), schemas.FrameSubscribe: sub.AppendFrame(nil), schemas.FrameUnsubscribe: unsub.AppendFrame(nil),
	} {
		if got, err := schemas.KindOfFrame(frame); err != nil || got != kind {
			t.Errorf("%s is of kind %q: %v", frame, got, err)
		}
	}
}

func someDelta() *schemas.Delta {
	return &schemas.Delta{
		Epoch: 3, Document: "contest/c", From: 41, To: 42, Log: 50, Micros: 1_700_000_000_000_000, Hash: someHash,
		Lines: [][]byte{frameLine, frameLineB},
	}
}

func TestTheHeadOfADeltaIsReadWithoutItsLines(t *testing.T) {
	d := someDelta()
	h, joined, err := schemas.ReadDeltaHeader(d.AppendFrame(nil))
	if diff := cmp.Diff(d.Header(), h); err != nil || diff != "" {
		t.Fatal(err, diff)
	}
	lines, err := schemas.SplitLines(nil, joined)
	if diff := cmp.Diff(d.Lines, lines); err != nil || diff != "" {
		t.Error(err, diff)
	}
	d.Lines = nil
	if _, joined, err = schemas.ReadDeltaHeader(d.AppendFrame(nil)); err != nil || len(joined) != 0 {
		t.Errorf("without lines: %q, %v", joined, err)
	}
	if lines, err := schemas.SplitLines(nil, joined); err != nil || len(lines) != 0 {
		t.Errorf("without lines: %q, %v", lines, err)
	}
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	frame := someDelta().AppendFrame(nil)
	replace := func(old, by string) []byte { return bytes.Replace(frame, []byte(old), []byte(by), 1) }
	for name, b := range map[string][]byte{
		"empty": nil, "other protocol": replace(`"p":1`, `"p":2`), "other order": replace(`"e":3,"g":"contest/c"`, `"g":"contest/c","e":3`),
		"no lines": frame[:len(frame)-2], "leading zero": replace(`"v":42`, `"v":042`), "not forward": replace(`"v":42`, `"v":41`),
		"short hash": replace(someHash.String(), "ab"), "no document": replace("contest/c", "contest/"), "huge": replace(`"b":41`, `"b":99999999999999999999`),
		"negative time": replace(`"ts":17`, `"ts":-17`),
	} {
		if _, _, err := schemas.ReadDeltaHeader(b); !errors.Is(err, schemas.ErrFrame) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, lines := range map[string][]byte{
		"no line": []byte("{}"), "cut": frameLine[:len(frameLine)-3], "not rising": append(append(bytes.Clone(frameLineB), ','), frameLine...),
		"twice": append(append(bytes.Clone(frameLine), ','), frameLine...), "comma at the end": append(bytes.Clone(frameLine), ','),
	} {
		if _, err := schemas.SplitLines(nil, lines); err == nil {
			t.Errorf("lines: %s is taken", name)
		}
	}
	for _, b := range []string{
		``, `{}`, `[]`, `{"p":1,"t":"sub"}`, `{"p":1,"t":"sub","g":[]}`, `{"p":1,"t":"sub","g":["x"]}`, `{"p":1,"t":"sub","g":["election"]} {}`,
		`{"p":1,"t":"sub","g":["election"],"more":1}`, `{"p":0,"t":"sub","g":["election"]}`, `{"p":1,"t":"hello","g":["election"]}`,
		`{"p":1,"t":"sub","g":["election"],"v":{"election":-1}}`, `{"p":1,"t":"sub","g":["election"],"v":{"election":1.5}}`,
		`{"p":1,"t":"unsub","g":["election"],"e":1}`,
	} {
		if s, u, err := schemas.ParseClientFrame([]byte(b)); !errors.Is(err, schemas.ErrFrame) {
			t.Errorf("%s: %v %v %v", b, s, u, err)
		}
	}
	if _, err := schemas.ParseBye([]byte(`{"p":1,"t":"bye","r":"x","w":-1}`)); err == nil {
		t.Error("a negative wait is taken")
	}
	if _, err := schemas.ParseSnap([]byte(`{"p":1,"t":"snap","e":1,"g":"election","v":1}`)); err == nil {
		t.Error("a snap without a hash is taken")
	}
}

// FuzzDeltaRoundTrip holds the quick reader against the general one: what both
// take, they read alike, and what the quick one takes it can write again.
func FuzzDeltaRoundTrip(f *testing.F) {
	f.Add(someDelta().AppendFrame(nil))
	f.Add([]byte(`{"p":1,"t":"delta","e":1,"g":"election","b":0,"v":1,"n":1,"ts":0,"h":"` + someHash.String() + `","l":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, joined, err := schemas.ReadDeltaHeader(b)
		if err != nil {
			return
		}
		lines, err := schemas.SplitLines(nil, joined)
		if err != nil {
			return
		}
		d := schemas.Delta{
			Epoch: h.Epoch, Document: h.Document, From: h.From, To: h.To, Log: h.Log, Micros: h.Micros, Hash: h.Hash, Lines: lines,
		}
		if again := d.AppendFrame(nil); !bytes.Equal(again, b) {
			t.Fatalf("%s\nis written again as\n%s", b, again)
		}
		if general, err := schemas.ParseDelta(b); err == nil {
			if diff := cmp.Diff(d.Header(), general.Header()); diff != "" || len(general.Lines) != len(lines) {
				t.Fatalf("the readers differ: %s", diff)
			}
		}
	})
}

func FuzzClientFrameRoundTrip(f *testing.F) {
	f.Add([]byte(`{"p":1,"t":"sub","g":["election","contest/c"],"e":3,"v":{"election":17}}`))
	f.Add([]byte(`{"t":"unsub","p":1,"g":["*"]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		sub, unsub, err := schemas.ParseClientFrame(b)
		if err != nil {
			return
		}
		var again []byte
		if sub != nil {
			again = sub.AppendFrame(nil)
		} else {
			again = unsub.AppendFrame(nil)
		}
		sub2, unsub2, err := schemas.ParseClientFrame(again)
		if diff := cmp.Diff(sub, sub2) + cmp.Diff(unsub, unsub2); err != nil || diff != "" {
			t.Fatalf("%s: %v %s", again, err, diff)
		}
	})
}

func TestASnapshotIsPeekedAtWithoutItsSignature(t *testing.T) {
	s := schemas.Snapshot{Origin: "results.example", Number: 7, Log: 8, Manifest: someHash, Time: "2026-11-03T21:04:05.123Z"}
	text := s.AppendText(nil)
	got, err := schemas.PeekSnapshot(append(bytes.Clone(text), "\n— results.example/publish AAAA\n"...))
	if err != nil || *got != s {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := schemas.PeekSnapshot(text); err == nil {
		t.Error("a text without signatures is taken")
	}
}

func BenchmarkReadDeltaHeader(b *testing.B) {
	d := someDelta()
	for len(d.Lines) < 30 {
		d.Lines = append(d.Lines, frameLineB)
	}
	frame := d.AppendFrame(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := schemas.ReadDeltaHeader(frame); err != nil {
			b.Fatal(err)
		}
	}
}
