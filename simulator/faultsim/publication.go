package faultsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tallystream/schemas"
)

// publication watches what becomes public, and holds it against the oracle.
// It reads notes, manifests and documents by itself.
type publication struct {
	world  *world
	town   *town
	oracle *oracle
	bucket *simBucket

	books   map[uint64]*logbook // of each epoch's sequencer
	decided map[string]*logbook // by note: who decided it
	newest  *publicNote
	log     []string                  // leaves, as of newest
	roots   map[uint64]schemas.Digest // by number of leaves, behind each snapshot
	marked  *publicNote
	epoch   uint64
	// named are documents that a snapshot named: by name and hash, how much of
	// whose log they show.
	named map[string]cutOf
	read  *readings
}

// logbook is what one sequencer has read: which partition each entry came
// from. Others may have read the ledgers in another order.
type logbook struct {
	partitions []schemas.Partition
	again      []schemas.Partition // the newest reading from the beginning, which a fault may have cut off
	cuts       map[uint64]uint64   // how many entries each version shows that it has sent deltas of
	others     uint64              // leaves in the log that are no entries, when it took its epoch
}

// follow returns who notes a reading that begins behind those entries. A
// sequencer reads for its books on from where they stand, or at first from the
// beginning. It also reads single partitions again for the log's tiles, which
// its books know already, and which may look like its first reading where
// there is but one.
func (b *logbook) follow(after []uint64) func(schemas.Entry) {
	if !slices.ContainsFunc(after, func(n uint64) bool { return n > 0 }) {
		b.again = nil
	}
	begins := func(list []schemas.Partition) bool {
		sizes := make([]uint64, len(after))
		for _, p := range list {
			sizes[p]++
		}
		return slices.Equal(sizes, after)
	}
	onward, again := begins(b.partitions), begins(b.again)
	return func(x schemas.Entry) {
		if onward {
			b.partitions = append(b.partitions, x.Partition)
		}
		if again {
			if b.again = append(b.again, x.Partition); len(b.again) > len(b.partitions) {
				b.partitions = slices.Clone(b.again)
			}
		}
	}
}

// cut is how many entries a version shows; false for one that it cannot have.
// Versions are sizes of the log, in which snapshots and the definition have
// leaves, too. All that were not sent as deltas are of its first cut.
func (b *logbook) cut(version uint64) (cutOf, bool) {
	entries, ok := b.cuts[version]
	if !ok {
		entries = version - b.others
	}
	return cutOf{b, entries}, version >= b.others && entries <= uint64(len(b.partitions))
}

// cutOf is the first entries that a sequencer has read.
type cutOf struct {
	book    *logbook
	entries uint64
}

// sizes of the partitions in it.
func (c cutOf) sizes(partitions int) []int {
	sizes := make([]int, partitions)
	for _, p := range c.book.partitions[:c.entries] {
		sizes[p]++
	}
	return sizes
}

type publicNote struct {
	number, log, accepted, held    uint64
	root, manifest, previous, hash schemas.Digest
}

func (n *publicNote) entries() uint64 { return n.accepted + n.held }

type publicLine struct {
	Contest    string             `json:"contest"`
	Unit       string             `json:"unit"`
	Reporting  int64              `json:"reporting"`
	Units      int64              `json:"units"`
	Votes      map[string][]int64 `json:"votes"`
	Undervotes []int64            `json:"undervotes"`
	Overvotes  []int64            `json:"overvotes"`
}

type publicFile struct {
	Name    string         `json:"name"`
	Version uint64         `json:"version"`
	Key     string         `json:"key"`
	Hash    schemas.Digest `json:"sha256"`
	Bytes   int            `json:"bytes"`
}

func newPublication(w *world, t *town, o *oracle, b *simBucket, read *readings) *publication {
	return &publication{
		world: w, town: t, oracle: o, bucket: b, books: map[uint64]*logbook{}, decided: map[string]*logbook{}, roots: map[uint64]schemas.Digest{},
		named: map[string]cutOf{}, read: read,
	}
}

// readNote reads a snapshot's note without its signature.
func readNote(b string) (*publicNote, error) {
	n := &publicNote{hash: schemas.DigestOf([]byte(b))}
	for line := range strings.SplitSeq(b, "\n") {
		name, value, _ := strings.Cut(line, " ")
		var err error
		switch name {
		case "number":
			n.number, err = strconv.ParseUint(value, 10, 64)
		case "log":
			n.log, err = strconv.ParseUint(value, 10, 64)
		case "accepted":
			n.accepted, err = strconv.ParseUint(value, 10, 64)
		case "held":
			n.held, err = strconv.ParseUint(value, 10, 64)
		case "root":
			n.root, err = schemas.ParseDigest(value)
		case "manifest":
			n.manifest, err = schemas.ParseDigest(value)
		case "previous":
			n.previous, err = schemas.ParseDigest(value)
		}
		if err != nil {
			return nil, fmt.Errorf("note: %q: %w", line, err)
		}
	}
	return n, nil
}

// epochOf reads a mark's epoch.
func epochOf(mark []byte) (epoch uint64) {
	for line := range strings.SplitSeq(string(mark), "\n") {
		if _, err := fmt.Sscanf(line, "epoch %d", &epoch); err == nil {
			return epoch
		}
	}
	return 0
}

// onMark checks each change of the mark: epochs rise, and each snapshot that
// is decided follows the one before. book is of the sequencer that changes it.
func (p *publication) onMark(before, after []byte, book *logbook) {
	was, is := epochOf(before), epochOf(after)
	switch {
	case is < was || p.epoch > is:
		p.world.violate("the epoch of publication goes back from %d to %d", max(was, p.epoch), is)
	case is > was:
		p.books[is], book.others = book, 1
		if p.marked != nil {
			book.others += p.marked.number
		}
	case p.books[is] != book:
		p.world.violate("a sequencer decides in epoch %d, which is another's", is)
	}
	p.epoch = is
	note := noteOf(after)
	if note == "" || note == noteOf(before) && (p.marked == nil || p.marked.hash == schemas.DigestOf([]byte(note))) {
		return
	}
	n, err := readNote(note)
	if err != nil {
		p.world.violate("what was decided is no snapshot: %v", err)
		return
	}
	p.checkFollows(p.marked, n, "decided")
	p.marked, p.decided[note] = n, book
}

// checkFollows holds that numbers are dense and each names the one before.
func (p *publication) checkFollows(last, n *publicNote, what string) {
	number, previous, log := uint64(1), schemas.Digest{}, uint64(0)
	if last != nil {
		number, previous, log = last.number+1, last.hash, last.log
	}
	switch {
	case n.number != number:
		p.world.violate("snapshot %d is %s, want %d", n.number, what, number)
	case n.previous != previous:
		p.world.violate("snapshot %d is %s and does not name the one before", n.number, what)
	case n.log < log:
		p.world.violate("snapshot %d is %s with a log of %d, the one before had %d", n.number, what, n.log, log)
	}
}

// onPut checks what becomes public with an object.
func (p *publication) onPut(key string, body []byte) {
	switch kindOf(key) {
	case writeNote:
		p.checkSnapshot(key, string(body))
	case writeCheckpoint:
		p.checkCheckpoint(body)
	case writeLatest:
		n, err := readNote(string(body))
		if err != nil || string(p.bucket.objects[fmt.Sprintf("snapshots/%09d", n.number)]) != string(body) {
			p.world.violate("latest names no snapshot")
		}
	case writeDocument, writeManifest:
		if !strings.Contains(key, schemas.DigestOf(body).String()) {
			p.world.violate("object %s has other bytes than its name says", key)
		}
	}
}

func (p *publication) checkSnapshot(key, body string) {
	n, err := readNote(body)
	if err != nil {
		p.world.violate("%s is no snapshot: %v", key, err)
		return
	}
	if fmt.Sprintf("snapshots/%09d", n.number) != key {
		p.world.violate("%s says that it is snapshot %d", key, n.number)
	}
	p.checkFollows(p.newest, n, "published")
	p.newest = n
	book := p.decided[body]
	if book == nil {
		p.world.violate("snapshot %d is published and was not decided", n.number)
		return
	}
	if want := n.number + n.entries(); n.log != want {
		p.world.violate("snapshot %d has a log of %d leaves, want %d: the definition, %d entries and %d snapshots", n.number, n.log, want, n.entries(), n.number-1)
	}
	if n.entries() > uint64(len(book.partitions)) {
		p.world.violate("snapshot %d is of %d entries, its sequencer has read %d", n.number, n.entries(), len(book.partitions))
		return
	}
	cut := cutOf{book, n.entries()}
	accepted, held := p.oracle.split(cut.sizes(len(p.oracle.books)))
	if accepted != n.accepted || held != n.held {
		p.world.violate("snapshot %d: %d accepted and %d held, want %d and %d", n.number, n.accepted, n.held, accepted, held)
	}
	p.checkLog(n, body)
	p.checkManifest(n, cut)
}

// checkManifest holds that everything a snapshot names is there, and that its
// documents show the oracle's sums.
func (p *publication) checkManifest(n *publicNote, cut cutOf) {
	files, err := p.manifest(n)
	if err != nil {
		p.world.violate("snapshot %d: %v", n.number, err)
		return
	}
	for _, f := range files {
		body, ok := p.bucket.objects[f.Key]
		if !ok || len(body) != f.Bytes || schemas.DigestOf(body) != f.Hash {
			p.world.violate("snapshot %d names %s, which is not there with these bytes", n.number, f.Key)
			return
		}
		if !isDocument(f.Name) {
			continue
		}
		if err := p.checkDocument(f.Name, f.Hash, body, cut); err != nil {
			p.world.violate("snapshot %d, log %d: %v", n.number, n.log, err)
			return
		}
		p.named[f.Name+" "+f.Hash.String()] = cut
	}
}

func (p *publication) manifest(n *publicNote) (files []publicFile, err error) {
	body, ok := p.bucket.objects[schemas.ContentKey("manifests", n.manifest, ".ndjson")]
	if !ok {
		return nil, fmt.Errorf("its manifest is not there")
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(body), "\n"), "\n") {
		var f publicFile
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			return nil, fmt.Errorf("its manifest: %w", err)
		}
		files = append(files, f)
	}
	return files, nil
}

func isDocument(name string) bool {
	return name == "election" || strings.HasPrefix(name, "contest/") || strings.HasPrefix(name, "county/")
}

// checkDocument holds a document's numbers against the oracle's at a cut.
func (p *publication) checkDocument(name string, hash schemas.Digest, body []byte, cut cutOf) error {
	lines, ok := p.read.lines[hash]
	if !ok {
		for line := range strings.SplitSeq(strings.TrimSuffix(string(body), "\n"), "\n") {
			var l publicLine
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				return fmt.Errorf("document %s: %w", name, err)
			}
			lines = append(lines, l)
		}
		p.read.lines[hash] = lines
	}
	sizes := cut.sizes(len(p.oracle.books))
	for i := range lines {
		want := p.oracle.sum(sizes, p.inside(lines[i].Unit))
		if err := lines[i].holds(want); err != nil {
			return fmt.Errorf("document %s: %w", name, err)
		}
	}
	return nil
}

// inside says which counties a line's unit covers.
func (p *publication) inside(unit string) func(schemas.CountyID) bool {
	if _, ok := p.town.election.County(schemas.CountyID(unit)); ok {
		return func(c schemas.CountyID) bool { return string(c) == unit }
	}
	return func(schemas.CountyID) bool { return true } // there is one state
}

func (l *publicLine) holds(want map[place]int64) error {
	check := func(selection string, got []int64) error {
		for k := range kinds {
			if got[k] != want[place{l.Contest, selection, k}] {
				return fmt.Errorf("%s %s %s: %v of %s, want %d", l.Contest, l.Unit, selection, got, kinds[k], want[place{l.Contest, selection, k}])
			}
		}
		return nil
	}
	if got := want[place{l.Contest, stated, 0}]; l.Reporting != got {
		return fmt.Errorf("%s %s: %d reporting, want %d", l.Contest, l.Unit, l.Reporting, got)
	}
	for selection, counts := range l.Votes {
		if err := check(selection, counts); err != nil {
			return err
		}
	}
	if l.Undervotes == nil {
		return nil
	}
	if err := check(undervotes, l.Undervotes); err != nil {
		return err
	}
	return check(overvotes, l.Overvotes)
}

// checkViewer holds a viewer's document against the oracle at the version
// that it says it has.
func (p *publication) checkViewer(who, name string, epoch, version uint64, hash schemas.Digest, body []byte) {
	if schemas.DigestOf(body) != hash {
		p.world.violate("%s: %s at version %d has other bytes than its hash says", who, name, version)
		return
	}
	cut, ok := p.named[name+" "+hash.String()]
	if epoch > 0 {
		if ok = p.books[epoch] != nil; ok {
			cut, ok = p.books[epoch].cut(version)
		}
	}
	if !ok {
		p.world.violate("%s: %s at version %d of epoch %d, which nobody published", who, name, version, epoch)
		return
	}
	if err := p.checkDocument(name, hash, body, cut); err != nil {
		p.world.violate("%s at version %d of epoch %d: %v", who, version, epoch, err)
	}
}
