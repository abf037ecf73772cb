package dynamodb

import (
	"fmt"

	"github.com/klauspost/compress/zstd"

	"tallystream/schemas"
)

// packer makes records small: DynamoDB counts kilobytes, and a submission
// mostly repeats names that stand in the election's definition. So that is the
// dictionary, where all of it fits; a part would hold other names. The
// definition of a ledger never changes.
//
// A packed record is one zstd frame (RFC 8878) with the content's checksum.
type packer struct {
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// dictionaryID is in every frame of a dictionary; dictionarySize bounds what a
// frame may refer back to.
const (
	dictionaryID   = 0x746c7973
	dictionarySize = 1 << 20
)

func newPacker(definition []byte) (*packer, error) {
	if len(definition) > dictionarySize {
		definition = nil
	}
	return newPackerWith(zstd.SpeedFastest, definition)
}

// newPackerWith packs by another level or dictionary; nil is none. Benchmarks
// compare them.
func newPackerWith(level zstd.EncoderLevel, dictionary []byte) (*packer, error) {
	encoding := []zstd.EOption{zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true)}
	decoding := []zstd.DOption{zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(schemas.MaxEnvelope + 1024)}
	if len(dictionary) > 0 {
		encoding = append(encoding, zstd.WithEncoderDictRaw(dictionaryID, dictionary))
		decoding = append(decoding, zstd.WithDecoderDictRaw(dictionaryID, dictionary))
	}
	encoder, err := zstd.NewWriter(nil, encoding...)
	if err != nil {
		return nil, fmt.Errorf("making the record packer: %w", err)
	}
	decoder, err := zstd.NewReader(nil, decoding...)
	if err != nil {
		return nil, fmt.Errorf("making the record unpacker: %w", err)
	}
	return &packer{encoder, decoder}, nil
}

func (p *packer) pack(record []byte) []byte { return p.encoder.EncodeAll(record, nil) }

func (p *packer) unpack(dst, packed []byte) ([]byte, error) {
	b, err := p.decoder.DecodeAll(packed, dst)
	if err != nil {
		return nil, fmt.Errorf("unpacking a record: %w", err)
	}
	return b, nil
}

func (p *packer) close() {
	p.encoder.Close()
	p.decoder.Close()
}
