package dynamodb

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"tallystream/simulator/elections"
	"tallystream/simulator/script"
)

// samples are records of a generated election: the last reports of some units
// from everywhere in it.
func samples(tb testing.TB, kind elections.Kind) (definition []byte, records [][]byte) {
	tb.Helper()
	g, err := elections.Generate(kind, 2026)
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := elections.NewKeys(g.Election(), 2026)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := script.New(script.Config{Truth: g, Keys: keys, Seed: 2026, Revisions: 1, Span: time.Hour})
	if err != nil {
		tb.Fatal(err)
	}
	at, step := 0, max(1, s.Len()/200)
	for event := range s.All() {
		if at++; at%step != 0 || event.Kind != script.Report {
			continue
		}
		record, err := s.Envelope(event, nil)
		if err != nil {
			tb.Fatal(err)
		}
		records = append(records, record)
	}
	return g.Definition(), records
}

// TestPackedRecordsComeBack: what is packed is what is unpacked, and is smaller.
func TestPackedRecordsComeBack(t *testing.T) {
	definition, records := samples(t, elections.CountyKind)
	p, err := newPacker(definition)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for _, record := range records {
		packed := p.pack(record)
		again, err := p.unpack(nil, packed)
		if err != nil || !bytes.Equal(again, record) || len(packed) > len(record)/2 {
			t.Fatalf("%d bytes, %d packed: %v", len(record), len(packed), err)
		}
	}
}

// BenchmarkPack packs and unpacks records of a county's and of the country's
// night, with the dictionary and without.
func BenchmarkPack(b *testing.B) {
	for _, kind := range []elections.Kind{elections.CountyKind, elections.UnionKind} {
		definition, records := samples(b, kind)
		for _, way := range []struct {
			name       string
			level      zstd.EncoderLevel
			dictionary []byte
		}{
			{"fastest", zstd.SpeedFastest, nil},
			{"default", zstd.SpeedDefault, nil},
			{"better", zstd.SpeedBetterCompression, nil},
			{"fastest-dictionary", zstd.SpeedFastest, definition[max(0, len(definition)-dictionarySize):]},
			{"default-dictionary", zstd.SpeedDefault, definition[max(0, len(definition)-dictionarySize):]},
		} {
			b.Run(fmt.Sprintf("%s/%s", kind, way.name), func(b *testing.B) { benchmarkPack(b, way.level, way.dictionary, records) })
		}
	}
}

func benchmarkPack(b *testing.B, level zstd.EncoderLevel, dictionary []byte, records [][]byte) {
	p, err := newPackerWith(level, dictionary)
	if err != nil {
		b.Fatal(err)
	}
	defer p.close()
	var dst, packed []byte
	before, after, n := 0, 0, 0
	pack, unpack := time.Duration(0), time.Duration(0)
	for b.Loop() {
		record := records[n%len(records)]
		start := time.Now()
		packed = p.pack(record)
		middle := time.Now()
		if dst, err = p.unpack(dst[:0], packed); err != nil {
			b.Fatal(err)
		}
		pack, unpack = pack+middle.Sub(start), unpack+time.Since(middle)
		before, after, n = before+len(record), after+len(packed), n+1
	}
	if !bytes.Equal(dst, records[(n-1)%len(records)]) {
		b.Fatal("it came back as another")
	}
	b.ReportMetric(float64(before)/float64(n), "bytes-before")
	b.ReportMetric(float64(after)/float64(n), "bytes-after")
	b.ReportMetric(float64(pack.Microseconds())/float64(n), "us-pack")
	b.ReportMetric(float64(unpack.Microseconds())/float64(n), "us-unpack")
}
