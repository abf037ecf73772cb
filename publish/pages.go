package publish

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"tallystream/publish/bucket"
	"tallystream/publish/log/leaf"
	"tallystream/schemas"
)

// pageSet makes the pages. What is above the line is fixed; the rest belongs
// to the goroutine that writes snapshots.
type pageSet struct {
	catalogue *catalogue
	name      string
	vkey      string
	witnesses []string // verifier keys
	heartbeat time.Duration
	liveURL   string
	objects   []bucket.Object // assets
	keys      assetKeys

	localPages       bool                  // contests of one county have pages of their own
	everywhere       []int32               // contest plans that the whole election votes on, in order
	contestOrder     []int32               // contest plans in the definition's order
	countyOrder      []schemas.CountyIndex // by name
	registered       map[int32]int64       // voters by state; all of them at -1
	countyRegistered []int64

	written []schemas.Version // by page, +1: the version that lies in the bucket
	told    *listings         // that the pages of corrections and of holds show
	listed  bool              // the list of contests lies there too
	paused  *leaf.Pause       // as the pages say that lie there
	when    schedule
	begun   time.Time         // when all pages were last brought up to date
	csvSeen map[string]string // keys of CSV files that pages link to
}

// pageKind is what a page is about.
type pageKind uint8

const (
	countyPages pageKind = iota
	contestPages
	statePages
	correctionsPages // one of each
	holdsPages
)

func newPageSet(c *catalogue, cfg *Config) (*pageSet, error) {
	d := c.election.Definition
	ps := &pageSet{
		catalogue: c, name: d.Name, vkey: cfg.VerifierKey, heartbeat: cfg.HeartbeatEvery, liveURL: cfg.LiveURL,
		registered:       make(map[int32]int64),
		countyRegistered: make([]int64, len(d.Counties)),
		countyOrder:      c.allCounties(),
		csvSeen:          make(map[string]string),
		when:             schedule{pace: pace{least: cfg.PagesEvery, most: 5 * time.Minute, share: pagesShare}},
	}
	for _, w := range cfg.Witnesses {
		ps.witnesses = append(ps.witnesses, w.Key.VerifierKey())
	}
	var err error
	if ps.objects, ps.keys, err = loadAssets(); err != nil {
		return nil, err
	}
	slices.SortFunc(ps.countyOrder, func(a, b schemas.CountyIndex) int { return cmp.Compare(d.Counties[a].Name, d.Counties[b].Name) })
	for i := range c.election.Units {
		u := &c.election.Units[i]
		n := int64(u.Registered)
		ps.countyRegistered[u.County] += n
		ps.registered[c.election.Counties[u.County].State] += n
		ps.registered[-1] += n
	}
	ps.orderContests()
	ps.written = make([]schemas.Version, len(d.Counties)+len(c.contests)+len(d.States))
	return ps, nil
}

// maxLocalPages bounds the pages of contests that one county votes on: they
// show again what the county's page shows. The US has 50,000 of them, which
// took ten seconds and 290 MB to write; a state's 1,300 are worth having.
const maxLocalPages = 5000

func (ps *pageSet) orderContests() {
	counties, local := 0, 0
	for k := range ps.catalogue.contests {
		if len(ps.catalogue.contests[k].places) == 1 {
			local++
		}
	}
	ps.localPages = local <= maxLocalPages
	for i := range ps.catalogue.election.Counties {
		if len(ps.catalogue.election.Counties[i].Units) > 0 {
			counties++
		}
	}
	for k := range ps.catalogue.contests {
		p := &ps.catalogue.contests[k]
		ps.contestOrder = append(ps.contestOrder, int32(k))
		if k > 0 && p.front && ps.voting(p) == counties {
			ps.everywhere = append(ps.everywhere, int32(k))
		}
	}
}

// voting counts the counties with units that vote on a contest.
func (ps *pageSet) voting(p *contestPlan) int {
	n := 0
	for _, at := range p.places {
		if len(ps.catalogue.election.Counties[at.county].Units) > 0 {
			n++
		}
	}
	return n
}

func (ps *pageSet) contestName(k int32) string {
	if k == 0 {
		return "Ballots cast"
	}
	return ps.catalogue.election.Definition.Contests[k-1].Name
}

// hasPage reports whether a contest has a page of its own.
func (ps *pageSet) hasPage(k int32) bool {
	p := &ps.catalogue.contests[k]
	return k > 0 && len(p.places) > 0 && (p.document >= 0 || ps.localPages)
}

// contestPath is where people read about a contest: its page, or its place on
// its county's page.
func (ps *pageSet) contestPath(k int32) string {
	p := &ps.catalogue.contests[k]
	if ps.hasPage(k) {
		return "contest/" + string(p.id) + ".html"
	}
	return "county/" + string(ps.catalogue.election.Counties[p.places[0].county].ID) + ".html#contest-" + string(p.id)
}

// countyName names a county, with its state where there are several.
func (ps *pageSet) countyName(c schemas.CountyIndex) string {
	d := ps.catalogue.election.Definition
	if ps.catalogue.manyState {
		return d.Counties[c].Name + ", " + d.States[ps.catalogue.election.Counties[c].State].Name
	}
	return d.Counties[c].Name
}

// fixed are the objects that never change.
func (ps *pageSet) fixed() []bucket.Object { return slices.Clone(ps.objects) }

// current are those that a new start may change: where the fanout is, and the
// list of contests.
func (ps *pageSet) current() ([]bucket.Object, error) {
	config, err := json.Marshal(struct {
		Election  schemas.ElectionID `json:"election"`
		Live      string             `json:"live"`
		Heartbeat float64            `json:"heartbeat"` // seconds
		Key       string             `json:"key"`       // of snapshots and of the log's checkpoints
		Witnesses []string           `json:"witnesses,omitempty"`
	}{ps.catalogue.election.Definition.Election, ps.liveURL, ps.heartbeat.Seconds(), ps.vkey, ps.witnesses})
	if err != nil {
		return nil, fmt.Errorf("writing the pages' configuration: %w", err)
	}
	return []bucket.Object{mutable("config.json", config, typeJSON)}, nil
}

// page is one page to write.
type page struct {
	kind    pageKind
	of      int32
	slot    int // of pageSet.written
	version schemas.Version
}

// stale lists the pages that show older numbers than the edition has.
func (ps *pageSet) stale(ed *edition, files map[string]schemas.ManifestEntry) []page {
	var out []page
	add := func(kind pageKind, of int32, slot int, v schemas.Version, changed bool) {
		if ps.written[slot] != v+1 || changed {
			out = append(out, page{kind, of, slot, v})
		}
	}
	c := ps.catalogue
	states := make([]schemas.Version, len(c.election.Definition.States))
	for i := range c.counties {
		v := ed.documents[c.counties[i].document].version
		state := c.election.Counties[i].State
		states[state] = max(states[state], v)
		name := csvFolder + string(c.election.Counties[i].ID) + ".csv"
		add(countyPages, int32(i), i, v, ps.csvSeen[name] != files[name].Key)
	}
	for k := 1; k < len(c.contests); k++ {
		if p := &c.contests[k]; ps.hasPage(int32(k)) {
			document := p.document
			if document < 0 {
				document = c.counties[p.places[0].county].document
			}
			add(contestPages, int32(k), len(c.counties)+k, ed.documents[document].version, false)
		}
	}
	if c.manyState {
		for i, v := range states {
			add(statePages, int32(i), len(c.counties)+len(c.contests)+i, v, false)
		}
	}
	return out
}

// staleListings are the pages of corrections and of holds, where they are.
func (f *frame) staleListings() (out []page) {
	if f.told == nil || f.told.moved != f.listings.moved {
		out = append(out, page{kind: correctionsPages})
	}
	if f.told == nil || f.told.changed != f.listings.changed {
		out = append(out, page{kind: holdsPages})
	}
	return out
}

func (f *frame) render(p page) bucket.Object {
	d := f.catalogue.election.Definition
	switch p.kind {
	case correctionsPages:
		return mutable(correctionsPath, f.correctionsPage(), typeHTML)
	case holdsPages:
		return mutable(holdsPath, f.holdsPage(), typeHTML)
	case countyPages:
		return mutable("county/"+string(d.Counties[p.of].ID)+".html", f.countyPage(schemas.CountyIndex(p.of)), typeHTML)
	case contestPages:
		return mutable(f.contestPath(p.of), f.contestPage(p.of), typeHTML)
	}
	return mutable("state/"+string(d.States[p.of].ID)+".html", f.statePage(p.of), typeHTML)
}

// writePages renews the front page with each snapshot, and the other pages
// whose numbers changed on their own, slower pace; it reports whether some
// still wait for that. Pages follow latest: none shows what no snapshot says.
func (s *Sequencer) writePages(ctx, running context.Context, p *plan) (behind bool, err error) {
	ps := s.pages
	begun := s.cfg.Now()
	f := &frame{pageSet: ps, edition: p.edition, number: p.snapshot.Number, log: p.snapshot.Log, tree: p.snapshot.Root, time: p.snapshot.Time, paused: p.pause, listings: p.listings, files: s.shelf.exports.files, listed: s.shelf.listings}
	if ps.paused != p.pause { // every page says it
		clear(ps.written)
		ps.listed, ps.told, ps.paused = false, nil, p.pause
	}
	index := mutable("index.html", f.indexPage(), typeHTML)
	numbers, texts := ps.stale(p.edition, f.files), f.staleListings()
	stale := slices.Concat(texts, numbers)
	if len(stale) > 0 && !p.pagesDue {
		return true, s.replacePages(ctx, running, []bucket.Object{index})
	}
	objects := []bucket.Object{index}
	if !ps.listed {
		objects = append(objects, mutable("contests.html", f.contestsPage(), typeHTML))
	}
	for batch := range slices.Chunk(stale, pagesAtOnce) {
		for _, x := range batch {
			objects = append(objects, f.render(x))
		}
		if err := s.replacePages(ctx, running, objects); err != nil {
			return false, err
		}
		objects = objects[:0]
	}
	if err := s.replacePages(ctx, running, objects); err != nil {
		return false, err
	}
	for _, x := range numbers {
		ps.written[x.slot] = x.version + 1
	}
	ps.told = p.listings
	for name, e := range f.files {
		ps.csvSeen[name] = e.Key
	}
	ps.listed = true
	took := s.cfg.Now().Sub(begun)
	ps.begun, ps.when.next = begun, ps.when.pace.next(begun, took, 0)
	s.cfg.Metrics.pagesTime.Observe(took.Seconds())
	return false, nil
}

// pagesAtOnce bounds the pages in memory: some 10 MB.
const pagesAtOnce = 512

func (s *Sequencer) replacePages(ctx, running context.Context, objects []bucket.Object) error {
	if len(objects) == 0 {
		return nil
	}
	size := 0
	for _, o := range objects {
		size += len(o.Body)
	}
	s.cfg.Metrics.bytes.WithLabelValues("page").Add(float64(size))
	return s.insist(ctx, running, "pages", func() error { return s.cfg.Bucket.Replace(ctx, objects...) })
}
