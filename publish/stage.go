package publish

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"tallystream/publish/log"
	"tallystream/schemas"
)

// stage says which leaves come to the log next, and in which order: from it and
// the ledger alone anybody makes the same tiles. As text:
//
//	tallystream/stage/v1
//	tree <size> <root, base64>     the log before it
//	to <size> <root, base64>       the log with it, but for the snapshot's own leaf
//	snapshot 12                    the snapshot whose leaf ends it; 0: none
//	entries 12 0 44                of the ledger that are in that, by partition
//	statement 312                  bytes of a statement's leaf; only where there is one
//	cut 0:15 2:50                  a cut: partitions that grew, and up to which entry
//	cut 1:3
//
//	<the statement's leaf, then the definition's, where the log is empty before>
//
// In the log come the definition's leaf, then for each cut its entries ordered
// by (partition, seq), then the statement, then the snapshot itself. A statement
// is of a pause, or of the root keys: it is in no ledger, so it stands here.
type stage struct {
	tree, to   tlog.Tree
	snapshot   schemas.SnapshotNumber
	before     []uint64 // entries in it, by partition
	cuts       [][]reach
	statement  []byte // leaf
	definition []byte
}

// reach is how far a partition has come at a cut.
type reach struct {
	partition schemas.Partition
	size      uint64
}

const stageKind = "tallystream/stage/v1\n"

func (st *stage) encode() []byte {
	b := appendTree([]byte(stageKind), "tree ", st.tree)
	b = appendTree(b, "to ", st.to)
	b = fmt.Appendf(b, "snapshot %d\nentries", st.snapshot)
	for _, n := range st.before {
		b = strconv.AppendUint(append(b, ' '), n, 10)
	}
	b = append(b, '\n')
	if len(st.statement) > 0 {
		b = fmt.Appendf(b, "statement %d\n", len(st.statement))
	}
	for _, cut := range st.cuts {
		b = append(b, "cut"...)
		for _, r := range cut {
			b = strconv.AppendUint(append(b, ' '), uint64(r.partition), 10)
			b = strconv.AppendUint(append(b, ':'), r.size, 10)
		}
		b = append(b, '\n')
	}
	b = append(b, '\n')
	return append(append(b, st.statement...), st.definition...)
}

func appendTree(b []byte, name string, tree tlog.Tree) []byte {
	b = strconv.AppendInt(append(b, name...), tree.N, 10)
	b = append(b, ' ')
	return append(base64.StdEncoding.AppendEncode(b, tree.Hash[:]), '\n')
}

func parseTree(line, name string) (tree tlog.Tree, err error) {
	var root string
	if _, err := fmt.Sscanf(line, name+"%d %s", &tree.N, &root); err != nil {
		return tree, errStage
	}
	raw, err := base64.StdEncoding.DecodeString(root)
	if err != nil || len(raw) != tlog.HashSize {
		return tree, errStage
	}
	tree.Hash = tlog.Hash(raw)
	return tree, nil
}

var errStage = errors.New("want the stage of a snapshot")

// parseStage reads what encode wrote, for an election of that many partitions.
func parseStage(b []byte, partitions int) (*stage, error) {
	head, leaves, ok := bytes.Cut(b, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || len(lines) < 5 || lines[0]+"\n" != stageKind {
		return nil, errStage
	}
	st := new(stage)
	var err error
	if st.tree, err = parseTree(lines[1], "tree "); err != nil {
		return nil, err
	}
	if st.to, err = parseTree(lines[2], "to "); err != nil {
		return nil, err
	}
	if _, err := fmt.Sscanf(lines[3], "snapshot %d", &st.snapshot); err != nil {
		return nil, errStage
	}
	for _, s := range strings.Fields(strings.TrimPrefix(lines[4], "entries")) {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			return nil, errStage
		}
		st.before = append(st.before, n)
	}
	rest := lines[5:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "statement ") {
		var size int
		if _, err := fmt.Sscanf(rest[0], "statement %d", &size); err != nil || size < 1 || size > len(leaves) {
			return nil, errStage
		}
		st.statement, leaves, rest = leaves[:size:size], leaves[size:], rest[1:]
	}
	if len(leaves) > 0 {
		st.definition = leaves
	}
	for _, line := range rest {
		cut, err := parseCut(line)
		if err != nil {
			return nil, err
		}
		st.cuts = append(st.cuts, cut)
	}
	if len(st.before) != partitions || !st.rises() || !bytes.Equal(st.encode(), b) {
		return nil, errStage
	}
	return st, nil
}

func parseCut(line string) (cut []reach, err error) {
	for _, s := range strings.Fields(strings.TrimPrefix(line, "cut")) {
		p, size, _ := strings.Cut(s, ":")
		partition, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, errStage
		}
		n, err := strconv.ParseUint(size, 10, 64)
		if err != nil {
			return nil, errStage
		}
		cut = append(cut, reach{schemas.Partition(partition), n})
	}
	return cut, nil
}

// rises reports whether every cut goes on where the one before ended.
func (st *stage) rises() bool {
	at := slices.Clone(st.before)
	for _, cut := range st.cuts {
		for i, r := range cut {
			if int(r.partition) >= len(at) || r.size <= at[r.partition] || i > 0 && r.partition <= cut[i-1].partition {
				return false
			}
			at[r.partition] = r.size
		}
	}
	return true
}

// after is how many entries of each partition are in the log with it.
func (st *stage) after() []uint64 {
	out := slices.Clone(st.before)
	for _, cut := range st.cuts {
		for _, r := range cut {
			out[r.partition] = r.size
		}
	}
	return out
}

// run is a row of entries of one partition that follow each other in the log.
type run struct {
	partition schemas.Partition
	after, to uint64 // entries after+1 to to
}

// runs lists the stage's entries in the order of the log.
func (st *stage) runs() (out []run) {
	at := slices.Clone(st.before)
	for _, cut := range st.cuts {
		for _, r := range cut {
			out = append(out, run{r.partition, at[r.partition], r.size})
			at[r.partition] = r.size
		}
	}
	return out
}

// queue holds the leaves that the log does not have yet, in the order in which
// it will. Run's goroutine owns it.
type queue struct {
	before []uint64 // entries in the log, or in the stage that is being written, by partition
	cuts   [][]reach
	// leaves of the cuts, and by partition those since. One without its bytes is
	// to be read from the ledger again.
	leaves []log.Hashed
	open   [][]log.Hashed
	grown  []bool // partitions that have some
	kept   int    // bytes of leaves that are held
	ready  int    // those of the cuts, about
}

// keepLeaves bounds the leaves that are held, in bytes. Those beyond it are made
// again of the ledger when their turn comes, which costs a reading.
const keepLeaves = 256 << 20

func newQueue(before []uint64) *queue {
	return &queue{before: before, open: make([][]log.Hashed, len(before)), grown: make([]bool, len(before))}
}

// has reports whether the log, or the stage, has the entry already.
func (q *queue) has(e *schemas.Entry) bool { return e.Seq <= q.before[e.Partition] }

// add takes the leaf of the partition's next entry, which it keeps.
func (q *queue) add(p schemas.Partition, leaf []byte) {
	l := hashed(leaf)
	if q.kept+len(leaf) > keepLeaves {
		l.Leaf = nil
	}
	q.kept += len(l.Leaf)
	q.open[p] = append(q.open[p], l)
	q.grown[p] = true
}

// cut closes a cut at the given sizes: the leaves that came since the last one
// follow in the order (partition, seq).
func (q *queue) cut(sizes []uint64) {
	var cut []reach
	for p, grown := range q.grown {
		if !grown {
			continue
		}
		cut = append(cut, reach{schemas.Partition(p), sizes[p]})
		q.leaves = append(q.leaves, q.open[p]...)
		clear(q.open[p])
		q.open[p], q.grown[p] = q.open[p][:0], false
	}
	if len(cut) > 0 {
		q.cuts = append(q.cuts, cut)
		q.ready = q.kept
	}
}

// take hands over the cuts, to be written. The leaves behind them stay.
func (q *queue) take() (st stage, leaves []log.Hashed) {
	st, leaves = stage{before: q.before, cuts: q.cuts}, q.leaves
	q.before, q.cuts, q.leaves, q.kept, q.ready = st.after(), nil, nil, 0, 0
	for _, open := range q.open {
		for i := range open {
			q.kept += len(open[i].Leaf)
		}
	}
	return st, leaves
}
