package leaf_test

import (
	"strings"
	"testing"

	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// BenchmarkDecode reads a submission leaf of 5 KB: mostly the SHA-256 of its
// body (BenchmarkDigest), which the verifier needs anyway.
func BenchmarkDecode(b *testing.B) {
	bytes, err := leaf.Append(nil, submission(b, strings.Repeat("x", 5000)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := leaf.Decode(bytes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppend writes one, which reads it once for checking.
func BenchmarkAppend(b *testing.B) {
	s := submission(b, strings.Repeat("x", 5000))
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if dst, err = leaf.Append(dst[:0], s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	body := []byte(strings.Repeat("x", 5000))
	for b.Loop() {
		schemas.DigestOf(body)
	}
}
