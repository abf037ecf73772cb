package suppress_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tallystream/publish/log/leaf"
	"tallystream/publish/suppress"
	"tallystream/schemas"
)

// takings are those of a night of one county, with random numbers.
func takings(t *rapid.T, n *night) (out []*suppress.Taking) {
	book := suppress.NewBook(n.e)
	revisions := map[schemas.UnitIndex]schemas.Revision{}
	for i, u := range n.sends {
		if n.e.RemainderOf(u) < 0 {
			continue
		}
		revisions[u]++
		cells := make([]schemas.Count, n.e.Units[u].Style.Cells)
		for k := range cells {
			cells[k] = schemas.Count(rapid.IntRange(0, 9).Draw(t, "cell"))
		}
		taken, err := book.Count(suppress.Statement{Unit: u, Revision: revisions[u], Seq: uint64(i + 1), Commitment: schemas.DigestOf([]byte{byte(i)})}, cells)
		if err != nil {
			t.Fatal(err)
		}
		if taken != nil {
			out = append(out, taken)
		}
	}
	return out
}

func TestAFileOfRemaindersSaysWhatWasTaken(t *testing.T) {
	read := 0
	rapid.Check(t, func(t *rapid.T) {
		n := nights(t)
		want := takings(t, n)
		var b []byte
		for _, taken := range want {
			b = suppress.Append(b, n.e, taken)
		}
		got, err := suppress.Parse(n.e, 0, b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		read += len(got)
		same := func(a, b *suppress.Taking) bool {
			return a.Remainder == b.Remainder && a.Number == b.Number && a.Seq == b.Seq && slices.Equal(a.Statements, b.Statements) &&
				slices.Equal(a.Row, b.Row) && slices.Equal(a.Fell, b.Fell) && slices.Equal(a.Moved, b.Moved)
		}
		if !slices.EqualFunc(got, want, same) {
			t.Fatalf("read\n%+v\nwant\n%+v", got, want)
		}
		if len(b) == 0 {
			return
		}
		at := rapid.IntRange(0, len(b)-1).Draw(t, "at")
		b[at] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
		if got, err := suppress.Parse(n.e, 0, b); err == nil {
			var again []byte
			for _, taken := range got {
				again = suppress.Append(again, n.e, taken)
			}
			if !bytes.Equal(again, b) {
				t.Fatalf("read, but written otherwise:\n%s\n%s", b, again)
			}
		}
	})
	if read == 0 {
		t.Error("no night had a taking")
	}
}

func TestARemainderIsAddedUpWhenEachOfItsUnitsSentAgain(t *testing.T) {
	n := fixed(t) // a, b and c are small, d and e join them
	if r := n.e.Remainders; len(r) != 1 || len(r[0].Units) != 5 {
		t.Fatalf("remainders %+v", r)
	}
	book := suppress.NewBook(n.e)
	for i, step := range []struct {
		unit    schemas.UnitIndex
		waiting int
		taken   bool
	}{
		{0, 1, false}, {1, 2, false}, {0, 2, false}, {2, 3, false}, {4, 4, false}, {3, 0, true},
		{0, 1, false}, {0, 1, false}, {1, 2, false}, {3, 3, false}, {4, 4, false}, {2, 0, true},
	} {
		cells := make([]schemas.Count, n.e.Units[step.unit].Style.Cells)
		cells[1] = schemas.Count(20 - i)
		taken, err := book.Count(suppress.Statement{Unit: step.unit, Revision: schemas.Revision(i + 1), Seq: uint64(i + 1)}, cells)
		if err != nil {
			t.Fatal(err)
		}
		if (taken != nil) != step.taken || book.Waiting(0) != step.waiting {
			t.Errorf("step %d: taken %t, %d waiting, want %+v", i, taken != nil, book.Waiting(0), step)
		}
	}
	all := book.Taken(0)
	if len(all) != 2 || all[0].Row[0] != 5 || all[0].Row[1] != 19+18+17+16+15 || all[1].Row[1] != 13+12+11+10+9 {
		t.Fatalf("takings %+v", all)
	}
	if all[0].Fell[0] || !all[1].Fell[0] || all[1].Fell[1] || all[1].Moved[0] != 1 {
		t.Errorf("the ballots fell, and nothing else: %+v", all[1])
	}
	if got := all[1].Statements[0]; got.Revision != 8 || got.Seq != 8 {
		t.Errorf("of the first unit its newest statement counts: %+v", got)
	}
}

func TestASecretGivesTheSameSaltsAgain(t *testing.T) {
	const good = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	a, err := suppress.ParseSecret([]byte(good + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := suppress.ParseSecret([]byte("MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWc="))
	if err != nil {
		t.Fatal(err)
	}
	salts := map[[leaf.SaltSize]byte]bool{
		a.Salt("example.org/a", 1, 2): true, a.Salt("example.org/a", 2, 1): true, a.Salt("example.org/a", 1, 3): true,
		a.Salt("example.org/b", 1, 2): true, b.Salt("example.org/a", 1, 2): true,
	}
	if len(salts) != 5 || !salts[a.Salt("example.org/a", 1, 2)] {
		t.Errorf("%d different salts, want 5", len(salts))
	}
	for _, bad := range []string{"", "secret", "MDEyMzQ1Njc4OWFiY2RlZg==", strings.Repeat("A", 43) + "=", good[:43]} {
		if _, err := suppress.ParseSecret([]byte(bad)); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
