package log_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"tallystream/publish/log"
)

var noon = time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)

func treeOf(n int) tlog.Tree { return tlog.Tree{N: int64(n), Hash: naiveRoot(leavesOf(n, "a"))} }

func TestACheckpointHasThreeLinesAndOpensWithItsKeyOnly(t *testing.T) {
	signer, k := logKey(t, origin)
	_, other := logKey(t, "results.example.org/other")
	b := signCheckpoint(t, treeOf(3), signer)
	c, n, err := log.OpenCheckpoint(b, other, k)
	if err != nil || c.Origin != origin || c.Tree != treeOf(3) || bytes.Count(n.Text, []byte("\n")) != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	if opened, err := note.Open(b, note.VerifierList(k)); err != nil || opened.Text != string(n.Text) {
		t.Errorf("x/mod/sumdb/note: %v", err)
	}
	if _, _, err := log.OpenCheckpoint(b, other); !errors.Is(err, log.ErrUnsigned) {
		t.Errorf("by another key: %v", err)
	}
	flipped := bytes.Replace(b, []byte("\n3\n"), []byte("\n4\n"), 1)
	if _, _, err := log.OpenCheckpoint(flipped, k); !errors.Is(err, log.ErrSignature) {
		t.Errorf("another size: %v", err)
	}
	// A key speaks for the origin that it is named by.
	text := strings.Replace(string(n.Text), origin, "results.example.org/other", 1)
	foreign, err := log.Sign([]byte(text), signer)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := log.OpenCheckpoint(foreign, k); !errors.Is(err, log.ErrUnsigned) {
		t.Errorf("for another origin: %v", err)
	}
}

func TestACheckpointHasOneSpelling(t *testing.T) {
	h := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32))
	for _, text := range []string{
		"", "a\n1\n" + h, "a\n1\n" + h + "\nmore\n", "a\n1\n" + h + "\n\n", "\n1\n" + h + "\n", "a\n01\n" + h + "\n", "a\n+1\n" + h + "\n", "a\n-1\n" + h + "\n",
		"a\n9223372036854775808\n" + h + "\n", "a\n1\n" + h[:43] + "\n", "a\n1\n" + h[:42] + "d=\n", "a\r\n1\n" + h + "\n", "a\n0\n" + h + "\n", "a\n\n" + h + "\n",
	} {
		if c, err := log.ParseCheckpoint([]byte(text)); err == nil {
			t.Errorf("%q was read as %+v", text, c)
		}
	}
	if c, err := log.ParseCheckpoint([]byte("a\n9223372036854775807\n" + h + "\n")); err != nil || c.Tree.N != 1<<63-1 {
		t.Error(err)
	}
}

// The example of c2sp.org/signed-note's Go implementation.
func TestNotesOfTheSpecificationAreRead(t *testing.T) {
	b := []byte("If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n" +
		"— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n")
	k, err := log.ParseLogKey("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
	if err != nil {
		t.Fatal(err)
	}
	n, err := log.ParseNote(b)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := n.SignedBy(k); !ok || err != nil {
		t.Errorf("signed: %v, %v", ok, err)
	}
}

// The checkpoint of c2sp.org/tlog-cosignature, with witness and key ID as there.
func TestTheCheckpointOfTheSpecificationIsRead(t *testing.T) {
	b := []byte("example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n" +
		"— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n" +
		"— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n")
	c, err := log.PeekCheckpoint(b)
	if err != nil || c.Origin != "example.com/behind-the-sofa" || c.Tree.N != 20852163 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestACosignatureStatesItsTimeAndOnlyThat(t *testing.T) {
	signer, _ := logKey(t, origin)
	witness, v := cosigner(t, "witness.example/w1", noon)
	b := signCheckpoint(t, treeOf(3), signer, witness)
	n, err := log.ParseNote(b)
	if err != nil {
		t.Fatal(err)
	}
	at, ok, err := v.CosignedAt(n)
	if err != nil || !ok || !at.Equal(noon) {
		t.Fatalf("cosigned %v %v, %v", ok, at, err)
	}
	for i := range n.Signatures[1].Bytes {
		n.Signatures[1].Bytes[i] ^= 1
		if _, _, err := v.CosignedAt(n); !errors.Is(err, log.ErrSignature) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		n.Signatures[1].Bytes[i] ^= 1
	}
	if _, err := witness.Sign([]byte("no checkpoint\n")); err == nil {
		t.Error("a witness signed what is no checkpoint")
	}
	_, plain := key(t, "witness.example/w1")
	if _, err := log.ParseCosignatory(plain); err == nil {
		t.Error("a log key passed for a witness key")
	}
	if _, err := log.ParseLogKey(witness.VerifierKey()); err == nil {
		t.Error("a witness key passed for a log key")
	}
}

func TestOnlyVerifiedSignaturesAreTakenOver(t *testing.T) {
	signer, k := logKey(t, origin)
	w1, v1 := cosigner(t, "witness.example/w1", noon)
	w2, v2 := cosigner(t, "witness.example/w2", noon)
	b := signCheckpoint(t, treeOf(3), signer)
	answer := func(tree tlog.Tree, w *log.Cosigner) []byte {
		n, err := log.ParseNote(signCheckpoint(t, tree, w))
		if err != nil {
			t.Fatal(err)
		}
		return n.Signatures[0].Append(nil)
	}
	out, added, err := log.AddSignatures(b, append(answer(treeOf(3), w1), answer(treeOf(4), w2)...), v1, v2)
	if err != nil || added != 1 {
		t.Fatalf("added %d, %v", added, err)
	}
	if _, n, err := log.OpenCheckpoint(out, k); err != nil || len(n.Signatures) != 2 {
		t.Errorf("%v", err)
	}
	if _, added, err = log.AddSignatures(out, answer(treeOf(3), w1), v1); err != nil || added != 0 {
		t.Errorf("the same again: added %d, %v", added, err)
	}
}

func policyOf(t testing.TB, quorum string) *log.Policy {
	t.Helper()
	_, k := key(t, origin)
	var b strings.Builder
	b.WriteString("# who watches\nlog " + k + " https://results.example.org/\n")
	for _, name := range []string{"w1", "w2", "w3"} {
		c, _ := cosigner(t, "witness.example/"+name, noon)
		b.WriteString("  witness\t" + name + " " + c.VerifierKey() + "\n")
	}
	b.WriteString(quorum)
	p, err := log.ParsePolicy([]byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPolicyAsksForItsQuorum(t *testing.T) {
	signer, _ := logKey(t, origin)
	signed := func(names ...string) []byte {
		list := []note.Signer{signer}
		for _, name := range names {
			w, _ := cosigner(t, "witness.example/"+name, noon)
			list = append(list, w)
		}
		return signCheckpoint(t, treeOf(3), list...)
	}
	for _, c := range []struct {
		quorum string
		by     []string
		ok     bool
	}{
		{"quorum none\n", nil, true},
		{"quorum w1\n", nil, false},
		{"quorum w1\n", []string{"w2"}, false},
		{"quorum w1\n", []string{"w1"}, true},
		{"group g 2 w1 w2 w3\nquorum g\n", []string{"w3"}, false},
		{"group g 2 w1 w2 w3\nquorum g\n", []string{"w3", "w1"}, true},
		{"group g all w1 w2 w3\nquorum g\n", []string{"w3", "w1"}, false},
		{"group g any w2 w3\ngroup h all w1 g\nquorum h\n", []string{"w1", "w3"}, true},
		{"group g any w2 w3\ngroup h all w1 g\nquorum h\n", []string{"w2", "w3"}, false},
		{"quorum w1\n", []string{"w1", "stranger"}, true},
	} {
		v, err := policyOf(t, c.quorum).Evaluate(signed(c.by...))
		var q *log.QuorumError
		if c.ok != (err == nil) || (err != nil && !errors.As(err, &q)) {
			t.Errorf("%q by %v: %v", c.quorum, c.by, err)
		}
		if err == nil && c.by != nil && (len(v.Witnesses) == 0 || !v.Witnesses[0].At.Equal(noon)) {
			t.Errorf("%q by %v: %+v", c.quorum, c.by, v)
		}
	}
	// The log must have signed, whoever cosigned.
	w1, _ := cosigner(t, "witness.example/w1", noon)
	if _, err := policyOf(t, "quorum w1\n").Evaluate(signCheckpoint(t, treeOf(3), w1)); !errors.Is(err, log.ErrUnsigned) {
		t.Errorf("without the log: %v", err)
	}
}

func TestAPolicysErrorNamesItsLine(t *testing.T) {
	_, k := key(t, origin)
	c, _ := cosigner(t, "witness.example/w1", noon)
	w := "witness w1 " + c.VerifierKey() + "\n"
	for text, line := range map[string]int{
		"":                           1,
		"quorum none":                1,
		"quorum none\nquorum none\n": 2,
		"log\nquorum none\n":         1,
		"log " + c.VerifierKey() + "\nquorum none\n":          1,
		"log " + k + "\nlog " + k + "\nquorum none\n":         2,
		"log " + k + " a b\nquorum none\n":                    1,
		"quorum w1\n" + w:                                     1,
		w + w + "quorum none\n":                               2,
		w + "group g 2 w1\nquorum g\n":                        2,
		w + "group g 0 w1\nquorum g\n":                        2,
		w + "group g 01 w1\nquorum g\n":                       2,
		w + "group g any\nquorum g\n":                         2,
		w + "group g any w1 w1\nquorum g\n":                   2,
		w + "group g any none\nquorum g\n":                    2,
		w + "group g any w1\ngroup h any w1\nquorum g\n":      3,
		w + "group w1 any w1\nquorum none\n":                  2,
		w + "group none any w1\nquorum none\n":                2,
		"witness none " + c.VerifierKey() + "\nquorum none\n": 1,
		"witness w1 " + k + "\nquorum none\n":                 1,
		w + "\n#\n \t \nquorum w1 w1\n":                       5,
		w + "frobnicate\n":                                    2,
		w + "quorum\fw1\n":                                    2,
		w:                                                     2,
	} {
		_, err := log.ParsePolicy([]byte(text))
		var p *log.PolicyError
		if !errors.As(err, &p) || p.Line != line {
			t.Errorf("%q: %v, want an error of line %d", text, err, line)
		}
	}
}

func TestAProofProvesItsLeafAndNothingElse(t *testing.T) {
	signer, _ := logKey(t, origin)
	policy := policyOf(t, "quorum none\n")
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 600).Draw(rt, "leaves")
		leaves := leavesOf(n, "a")
		s := newStore()
		edge := grow(t, &log.Edge{}, s, leaves...)
		index := rapid.IntRange(0, n-1).Draw(rt, "index")
		p, err := log.MakeProof(t.Context(), log.NewReader(s, edge.Tree()), int64(index), signCheckpoint(t, edge.Tree(), signer))
		if err != nil {
			rt.Fatal(err)
		}
		p.Extra = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(rt, "extra")
		b := p.Append(nil)
		read, err := log.ParseProof(b)
		if err != nil || !bytes.Equal(read.Append(nil), b) {
			rt.Fatalf("reading what was written: %v", err)
		}
		if v, err := read.Verify(leaves[index], policy); err != nil || v.Checkpoint.Tree != edge.Tree() {
			rt.Fatal(err)
		}
		if other := (index + 1) % n; other != index {
			if _, err := read.Verify(leaves[other], policy); !errors.Is(err, log.ErrTampered) {
				rt.Fatalf("for another leaf: %v", err)
			}
		}
		at := rapid.IntRange(0, len(b)-1).Draw(rt, "byte")
		flipped := bytes.Clone(b)
		flipped[at] ^= byte(1 << rapid.IntRange(0, 7).Draw(rt, "bit"))
		if bad, err := log.ParseProof(flipped); err == nil {
			if _, err := bad.Verify(leaves[index], policy); err == nil && bytes.Equal(bad.Extra, p.Extra) {
				rt.Fatalf("byte %d flipped, and the proof still holds:\n%s", at, flipped)
			}
		}
	})
}
