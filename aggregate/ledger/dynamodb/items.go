package dynamodb

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
	"tallystream/service/cloud"
)

// item is a row of the table.
type item = map[string]types.AttributeValue

// Widths of numbers in keys, so that keys sort as numbers do.
const (
	// entriesPerKey is how many entries share a partition key: a growing one
	// would be all writes of a partition behind one key forever.
	entriesPerKey = 1000
	// unitSpan is how many of a partition's entries share a row of a unit: a
	// flood of one unit's submissions cannot make a row too large to write.
	unitSpan = 256
)

// Names of attributes; short, because they are paid for with every write.
const (
	attrCheckpoint = "c"
	attrCursor     = "u"
	attrSize       = "n"
	attrEpoch      = "e"
	attrMeta       = "m" // of an entry: what became of it
	attrUnit       = "i"
	attrRecord     = "r" // the exact bytes, packed
	attrRow        = "t" // a county's counts
	attrElection   = "id"
	attrDefinition = "definition"
	seqPrefix      = "s" // of a unit's row: s<seq> is one entry's meta
)

func text(s string) types.AttributeValue   { return &types.AttributeValueMemberS{Value: s} }
func bytes_(b []byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: b} }
func number(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

func key(pk, sk string) item {
	return item{cloud.PartitionKey: text(pk), cloud.SortKey: text(sk)}
}

// Keys of the table. README.md lists who reads what by which.
func electionKey() item                { return key("election", "definition") }
func headKey(p schemas.Partition) item { return key(fmt.Sprintf("h/%d", p), "head") }
func tallyKey(p schemas.Partition, c schemas.CountyID) item {
	return key(fmt.Sprintf("t/%d", p), string(c))
}
func entryKey(p schemas.Partition, seq uint64) item { return key(entryPK(p, seq), entrySK(seq)) }
func entryPK(p schemas.Partition, seq uint64) string {
	return fmt.Sprintf("e/%d/%d", p, seq/entriesPerKey)
}
func entrySK(seq uint64) string          { return fmt.Sprintf("%03d", seq%entriesPerKey) }
func unitPK(p schemas.Partition) string  { return fmt.Sprintf("u/%d", p) }
func unitPrefix(u schemas.UnitID) string { return string(u) + "/" }
func unitKey(p schemas.Partition, u schemas.UnitID, seq uint64) item {
	return key(unitPK(p), unitPrefix(u)+fmt.Sprintf("%08d", seq/unitSpan))
}

func headItem(h ledger.Head) item {
	out := headKey(h.Partition)
	out[attrCheckpoint], out[attrSize], out[attrEpoch] = number(uint64(h.Checkpoint)), number(h.Size), number(uint64(h.Epoch))
	out[attrCursor] = text(h.Cursor)
	return out
}

func readHead(p schemas.Partition, it item) (ledger.Head, error) {
	r := reader{it: it}
	h := ledger.Head{
		Partition: p, Checkpoint: schemas.Checkpoint(r.number(attrCheckpoint)), Size: r.number(attrSize),
		Epoch: schemas.Epoch(r.number(attrEpoch)), Cursor: r.text(attrCursor),
	}
	if r.err != nil {
		return ledger.Head{}, fmt.Errorf("head of partition %d: %w", p, r.err)
	}
	return h, nil
}

func tallyItem(p schemas.Partition, c schemas.CountyID, row []byte, size uint64) item {
	out := tallyKey(p, c)
	out[attrRow], out[attrSize] = bytes_(row), number(size)
	return out
}

// metaVersion begins every meta. 2 added what releases say.
const metaVersion = 2

// appendMeta writes what became of an entry: version, kind, hold, revision,
// checkpoint, seq of what a release released, and digest. Kinds and holds are spelled out with their lengths, so
// that a new one needs no new version.
func appendMeta(dst []byte, x *schemas.Entry) []byte {
	dst = append(dst, metaVersion)
	dst = append(append(dst, byte(len(x.Kind))), x.Kind...)
	dst = append(append(dst, byte(len(x.Hold))), x.Hold...)
	dst = binary.AppendUvarint(dst, uint64(x.Revision))
	dst = binary.AppendUvarint(dst, uint64(x.At))
	dst = binary.AppendUvarint(dst, x.Held)
	return append(dst, x.Digest[:]...)
}

var errMeta = errors.New("meta is cut off or too long")

// readMeta reads what appendMeta wrote into x.
func readMeta(b []byte, x *schemas.Entry) error {
	if len(b) == 0 {
		return errMeta
	}
	if b[0] != metaVersion {
		return fmt.Errorf("meta of version %d, this program knows %d alone: the table belongs to the release of Tallystream that made it", b[0], metaVersion)
	}
	b = b[1:]
	word := func() string {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			b = nil
			return ""
		}
		s := string(b[1 : 1+b[0]])
		b = b[1+b[0]:]
		return s
	}
	varint := func() uint64 {
		n, k := binary.Uvarint(b)
		if k <= 0 {
			b = nil
			return 0
		}
		b = b[k:]
		return n
	}
	x.Kind, x.Hold = schemas.EntryKind(word()), schemas.HoldCode(word())
	x.Revision, x.At, x.Held = schemas.Revision(varint()), schemas.Checkpoint(varint()), varint()
	if len(b) != len(x.Digest) {
		return errMeta
	}
	copy(x.Digest[:], b)
	return nil
}

func entryItem(x *schemas.Entry, packed []byte) item {
	out := entryKey(x.Partition, x.Seq)
	out[attrMeta], out[attrRecord] = bytes_(appendMeta(nil, x)), bytes_(packed)
	if x.Unit != "" {
		out[attrUnit] = text(string(x.Unit))
	}
	return out
}

// readEntry reads an item of a known place; the record stays packed.
func readEntry(p schemas.Partition, seq uint64, it item) (x schemas.Entry, packed []byte, err error) {
	r := reader{it: it}
	x.Partition, x.Seq = p, seq
	if it[attrUnit] != nil {
		x.Unit = schemas.UnitID(r.text(attrUnit))
	}
	meta, packed := r.bytes(attrMeta), r.bytes(attrRecord)
	if err = r.err; err == nil {
		err = readMeta(meta, &x)
	}
	if err != nil {
		return x, nil, fmt.Errorf("entry %d of partition %d: %w", seq, p, err)
	}
	return x, packed, nil
}

// seqOfEntry is the number of an entry by its keys.
func seqOfEntry(pk, sk string) (uint64, error) {
	chunk, err := strconv.ParseUint(pk[strings.LastIndexByte(pk, '/')+1:], 10, 64)
	if err != nil {
		return 0, err
	}
	at, err := strconv.ParseUint(sk, 10, 64)
	if err != nil || at >= entriesPerKey {
		return 0, fmt.Errorf("sort key %q", sk)
	}
	return chunk*entriesPerKey + at, nil
}

// readUnit reads one row of a unit: its entries of that span, in order.
func readUnit(p schemas.Partition, it item) ([]schemas.Entry, error) {
	r := reader{it: it}
	sk := r.text(cloud.SortKey)
	if r.err != nil {
		return nil, r.err
	}
	slash := strings.LastIndexByte(sk, '/')
	if slash < 0 {
		return nil, fmt.Errorf("unit row %q: want a unit and a span", sk)
	}
	var out []schemas.Entry
	for name := range it {
		digits, ok := strings.CutPrefix(name, seqPrefix)
		if !ok || name == cloud.SortKey {
			continue
		}
		seq, err := strconv.ParseUint(digits, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("unit row %q: attribute %q", sk, name)
		}
		x := schemas.Entry{Partition: p, Seq: seq, Unit: schemas.UnitID(sk[:slash])}
		if err := readMeta(r.bytes(name), &x); err != nil {
			return nil, fmt.Errorf("unit row %q, entry %d: %w", sk, seq, err)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b schemas.Entry) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return out, r.err
}

// reader takes attributes out of an item and remembers the first that is not
// there or of another type.
type reader struct {
	it  item
	err error
}

func (r *reader) fail(name, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("attribute %q is not %s", name, want)
	}
}

func (r *reader) text(name string) string {
	if v, ok := r.it[name].(*types.AttributeValueMemberS); ok {
		return v.Value
	}
	r.fail(name, "text")
	return ""
}

func (r *reader) bytes(name string) []byte {
	if v, ok := r.it[name].(*types.AttributeValueMemberB); ok {
		return v.Value
	}
	r.fail(name, "bytes")
	return nil
}

func (r *reader) number(name string) uint64 {
	if v, ok := r.it[name].(*types.AttributeValueMemberN); ok {
		if n, err := strconv.ParseUint(v.Value, 10, 64); err == nil {
			return n
		}
	}
	r.fail(name, "a whole number")
	return 0
}
