package audit

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"tallystream/aggregate/ledger"
	"tallystream/schemas"
)

// Kind of a difference.
type Kind string

// The kinds.
const (
	KindHead      Kind = "head"      // of a partition goes back
	KindEntry     Kind = "entry"     // is missing, stands twice or out of order
	KindRecord    Kind = "record"    // is not the one that its entry speaks of
	KindSignature Kind = "signature" // is missing or does not verify
	KindDecision  Kind = "decision"  // is not what the rules say
	KindUnit      Kind = "unit"      // its list of entries is another
	KindTally     Kind = "tally"     // a number of a county
	KindSnapshot  Kind = "snapshot"  // says something else of the night
	KindObject    Kind = "object"    // is not there, or not what the manifest says
	KindDocument  Kind = "document"  // a published line
	KindListing   Kind = "listing"   // a line of the published corrections or holds
	KindFile      Kind = "file"      // a published table by unit
)

// Difference is one thing that is not as the audit finds it. What it does not
// concern is empty; numbers that nobody states are nil.
type Difference struct {
	Kind       Kind                `json:"kind"`
	Where      string              `json:"where"`
	What       string              `json:"what,omitempty"`
	County     schemas.CountyID    `json:"county,omitempty"`
	Unit       schemas.UnitID      `json:"unit,omitempty"`
	Contest    schemas.ContestID   `json:"contest,omitempty"`
	Selection  schemas.SelectionID `json:"selection,omitempty"`
	CountType  schemas.CountType   `json:"count_type,omitempty"`
	Ledger     *int64              `json:"ledger,omitempty"`
	Recomputed *int64              `json:"recomputed,omitempty"`
	Published  *int64              `json:"published,omitempty"`
}

// agrees says that all numbers that are stated are the same.
func (d *Difference) agrees() bool {
	same := func(n *int64) bool { return n == nil || *n == *d.Recomputed }
	return same(d.Ledger) && same(d.Published)
}

// mostTold is how many differences of a kind are told one by one; all are
// counted. One wrong record moves hundreds of numbers, and must not hide the rest.
const mostTold = 200

// kinds in the order of telling: causes first.
var kinds = []Kind{KindHead, KindEntry, KindRecord, KindSignature, KindDecision, KindUnit, KindSnapshot, KindTally, KindObject, KindDocument, KindListing, KindFile}

// Report is what an audit found.
type Report struct {
	Election  schemas.ElectionID     `json:"election"`
	Snapshot  schemas.SnapshotNumber `json:"snapshot,omitempty"` // that was compared
	Log       schemas.LogSize        `json:"log,omitempty"`      // size of its log
	Entries   uint64                 `json:"entries"`            // counted again
	Accepted  uint64                 `json:"accepted"`           // that count or did, and releases
	Held      uint64                 `json:"held"`               // released ones among them
	Movements uint64                 `json:"movements"`          // entries that lowered a number
	Compared  uint64                 `json:"compared"`           // numbers
	Documents int                    `json:"documents"`
	Files     int                    `json:"files"`     // tables by unit that were read
	HashOnly  int                    `json:"hash_only"` // objects that were held against their hash alone
	Stale     int                    `json:"stale"`     // tables that are older than the snapshot, and were not read
	Found     uint64                 `json:"differences"`
	Told      []Difference           `json:"told,omitempty"` // the first of them
	Seconds   float64                `json:"seconds"`
	PerSecond float64                `json:"submissions_per_second"`

	newest []ledger.Head
	byKind map[Kind]int // told
}

func (r *Report) add(d Difference) {
	r.Found++
	if r.byKind == nil {
		r.byKind = map[Kind]int{}
	}
	if r.byKind[d.Kind]++; r.byKind[d.Kind] <= mostTold {
		r.Told = append(r.Told, d)
	}
}

// entry adds a difference of one entry.
func (r *Report) entry(k Kind, x *schemas.Entry, what string) {
	r.add(Difference{Kind: k, Where: fmt.Sprintf("entry %d of partition %s", x.Seq, x.Partition), Unit: x.Unit, What: what})
}

// heads remembers heads and says where one is behind what it was.
func (r *Report) heads(heads []ledger.Head) {
	for i := range heads {
		if i >= len(r.newest) {
			r.newest = append(r.newest, heads[i])
			continue
		}
		was, is := &r.newest[i], heads[i]
		if is.Size < was.Size || is.Checkpoint < was.Checkpoint || is.Epoch < was.Epoch {
			r.add(Difference{Kind: KindHead, Where: "head of partition " + is.Partition.String(), What: fmt.Sprintf(
				"was at size %d, checkpoint %d, epoch %d, and is at %d, %d, %d", was.Size, was.Checkpoint, was.Epoch, is.Size, is.Checkpoint, is.Epoch)})
		}
		*was = is
	}
}

func (r *Report) finish(took time.Duration) {
	slices.SortStableFunc(r.Told, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), cmp.Compare(a.Where, b.Where), cmp.Compare(a.County, b.County), cmp.Compare(a.Unit, b.Unit),
			cmp.Compare(a.Contest, b.Contest))
	})
	r.Seconds = took.Seconds()
	if took > 0 {
		r.PerSecond = float64(r.Entries) / r.Seconds
	}
}

// JSON writes the report as one JSON value.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// Print writes the report for people.
func (r *Report) Print(w io.Writer) {
	fmt.Fprintf(w, "%d entries counted again (%d accepted, %d held; %d lowered a number) in %.1f s, %.0f a second\n", r.Entries, r.Accepted, r.Held, r.Movements, r.Seconds, r.PerSecond)
	if r.Snapshot > 0 {
		fmt.Fprintf(w, "Snapshot %d, at log size %d: %d documents and %d tables by unit were read, %d other objects held against their hash\n",
			r.Snapshot, r.Log, r.Documents, r.Files, r.HashOnly)
	}
	if r.Stale > 0 {
		fmt.Fprintf(w, "%d tables by unit are older than the snapshot and were held against their hash alone; they are renewed at the close\n", r.Stale)
	}
	if r.Found == 0 {
		fmt.Fprintf(w, "%d numbers compared: nothing differs\n", r.Compared)
		return
	}
	fmt.Fprintf(w, "%d numbers compared: %d DIFFERENCES\n\n", r.Compared, r.Found)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "kind\twhere\tcounty\tunit\tcontest\tselection\tcount type\tledger\trecomputed\tpublished\twhat")
	for i := range r.Told {
		d := &r.Told[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Kind, d.Where, dash(d.County), dash(d.Unit), dash(d.Contest), dash(d.Selection), dash(d.CountType),
			number(d.Ledger), number(d.Recomputed), number(d.Published), d.What)
	}
	t.Flush()
	if more := r.Found - uint64(len(r.Told)); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
}

func dash[T ~string](s T) string { return cmp.Or(string(s), "-") }

func number(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}
