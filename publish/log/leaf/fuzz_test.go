package leaf_test

import (
	"bytes"
	"testing"

	"tallystream/publish/log/leaf"
)

func FuzzDecode(f *testing.F) {
	for _, l := range all(f) {
		b, err := leaf.Append(nil, l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := leaf.Decode(b)
		if err != nil {
			return
		}
		again, err := leaf.Append(nil, l)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("read, but written otherwise: %v\n%q\n%q", err, b, again)
		}
		switch l := l.(type) { // what a note says is what would be signed
		case *leaf.Statement:
			if !bytes.HasPrefix(l.Note, l.AppendText(nil)) {
				t.Fatalf("text %q of note %q", l.AppendText(nil), l.Note)
			}
		case *leaf.Pause:
			if !bytes.HasPrefix(l.Note, l.AppendText(nil)) {
				t.Fatalf("text %q of note %q", l.AppendText(nil), l.Note)
			}
		}
	})
}
