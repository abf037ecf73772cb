package fanout

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"tallystream/fanout/viewer"
	"tallystream/publish"
	"tallystream/schemas"
)

// WatchCommand is `tallystream watch`: it follows contests live, as any viewer
// does, and checks every hash.
type WatchCommand struct {
	Contest []string      `arg:"" optional:"" help:"Contests to follow, by identifier or a part of the name. Without any: what everybody votes on."`
	URL     string        `help:"Where the election is published." default:"http://127.0.0.1:8080" env:"TALLYSTREAM_URL"`
	Live    string        `help:"Live server, if it is elsewhere." placeholder:"URL"`
	County  string        `help:"Follow this county's totals." placeholder:"ID"`
	Key     string        `help:"Key of media." env:"TALLYSTREAM_MEDIA_KEY"`
	JSON    bool          `help:"One JSON object a change, for programs." name:"json"`
	Every   time.Duration `help:"Least time between two lines about a contest, where the output is no terminal." default:"1s"`
}

// maxDefinition bounds what is fetched: a national definition has 30 MB.
const maxDefinition = 256 << 20

// Run follows until ctx ends.
func (c *WatchCommand) Run(ctx context.Context) error {
	election, err := fetchElection(ctx, c.URL)
	if err != nil {
		return err
	}
	races, documents, err := pickRaces(election, c.Contest, schemas.CountyID(c.County))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	show := c.output(election, races, stop)
	client, err := viewer.New(viewer.Config{
		Live: cmpOr(c.Live, c.URL), Bucket: c.URL, Documents: documents, Key: c.Key,
		OnChange: show.change, OnState: show.state,
	})
	if err != nil {
		return err
	}
	var drawing sync.WaitGroup
	drawing.Go(func() { show.run(ctx) })
	err = client.Run(ctx)
	stop(nil)
	drawing.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, errOutput) {
		err = cause
	}
	return err
}

// errOutput is why watch ends when nobody reads it any more.
var errOutput = errors.New("writing what was seen")

func cmpOr(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// fetchElection gets the definition, for the names.
func fetchElection(ctx context.Context, base string) (*schemas.Election, error) {
	at := strings.TrimSuffix(base, "/") + "/" + schemas.DefinitionKey
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, fmt.Errorf("fetching the election: %w", err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching the election: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the election: %s answers %s", at, response.Status)
	}
	b, err := io.ReadAll(io.LimitReader(response.Body, maxDefinition))
	if err != nil {
		return nil, fmt.Errorf("fetching the election: %w", err)
	}
	return schemas.OpenElection(b)
}

// output is one way to show what happens.
type output interface {
	change(viewer.Change)
	state(viewer.State)
	// run draws until ctx ends.
	run(ctx context.Context)
}

func (c *WatchCommand) output(e *schemas.Election, races []*race, stop context.CancelCauseFunc) output {
	out := os.Stdout
	if c.JSON {
		return &jsonOutput{out: out, stop: stop}
	}
	b := newBoard(e, races)
	if fd := int(out.Fd()); term.IsTerminal(fd) {
		return &screen{board: b, out: out, color: os.Getenv("NO_COLOR") == "", size: func() (int, int) {
			width, height, err := term.GetSize(fd)
			if err != nil {
				return 80, 24
			}
			return width, height
		}}
	}
	return &lineOutput{board: b, out: out, every: c.Every, now: time.Now, next: map[*race]time.Time{}}
}

// pickRaces finds the contests that were asked for and the documents that
// hold them.
func pickRaces(e *schemas.Election, names []string, county schemas.CountyID) ([]*race, []schemas.DocumentID, error) {
	unit := string(e.Definition.Election)
	document := func(schemas.ContestIndex) schemas.DocumentID { return schemas.ElectionDocument }
	if county != "" {
		if _, ok := e.County(county); !ok {
			return nil, nil, fmt.Errorf("county %q is not in this election", county)
		}
		unit = string(county)
		document = func(schemas.ContestIndex) schemas.DocumentID { return schemas.CountyDocument(county) }
	} else if len(names) > 0 {
		document = func(i schemas.ContestIndex) schemas.DocumentID { return publish.DocumentOf(e, i) }
	}
	chosen, err := chooseContests(e, names)
	if err != nil {
		return nil, nil, err
	}
	var races []*race
	var documents []schemas.DocumentID
	seen := map[schemas.DocumentID]bool{}
	for _, i := range chosen {
		r := &race{contest: &e.Definition.Contests[i], unit: unit}
		g := document(i)
		if id, ok := g.County(); ok {
			r.unit = string(id) // a contest of one county has no other total
		}
		races = append(races, r)
		if !seen[g] {
			seen[g] = true
			documents = append(documents, g)
		}
	}
	return races, documents, nil
}

// chooseContests finds contests by identifier or by a part of their names.
// Without names it is all of them: those without a line are not shown.
func chooseContests(e *schemas.Election, names []string) ([]schemas.ContestIndex, error) {
	var out []schemas.ContestIndex
	if len(names) == 0 {
		for i := range e.Definition.Contests {
			out = append(out, schemas.ContestIndex(i))
		}
		return out, nil
	}
	for _, name := range names {
		i, err := chooseContest(e, name)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

func chooseContest(e *schemas.Election, name string) (schemas.ContestIndex, error) {
	if i, ok := e.Contest(schemas.ContestID(name)); ok && i != schemas.BallotsIndex {
		return i, nil
	}
	var found []schemas.ContestIndex
	for i := range e.Definition.Contests {
		c := &e.Definition.Contests[i]
		if strings.Contains(strings.ToLower(c.Name), strings.ToLower(name)) || strings.Contains(string(c.ID), strings.ToLower(name)) {
			found = append(found, schemas.ContestIndex(i))
		}
	}
	switch len(found) {
	case 0:
		return 0, fmt.Errorf("contest %q: none has that in its name", name)
	case 1:
		return found[0], nil
	}
	var some []string
	for _, i := range found[:min(len(found), 8)] {
		some = append(some, string(e.Definition.Contests[i].ID))
	}
	return 0, fmt.Errorf("contest %q: %d have that in their names: %s", name, len(found), strings.Join(some, ", "))
}

// jsonOutput writes one object a change.
type jsonOutput struct {
	out  io.Writer
	stop context.CancelCauseFunc
}

// jsonChange is what programs get. Lines are document lines as published: all
// of them after a snapshot, those that changed after a delta.
type jsonChange struct {
	Document schemas.DocumentID `json:"document"`
	Epoch    schemas.Epoch      `json:"epoch"`
	Version  schemas.Version    `json:"version"`
	Hash     schemas.Digest     `json:"sha256"`
	Whole    bool               `json:"whole"`
	Log      schemas.LogSize    `json:"log,omitempty"`
	Micros   int64              `json:"ts,omitempty"`
	Lines    []json.RawMessage  `json:"lines"`
}

func (o *jsonOutput) change(c viewer.Change) {
	d := c.Document
	x := jsonChange{Document: d.ID(), Epoch: d.Epoch(), Version: d.Version(), Hash: d.Hash(), Whole: c.Lines == nil, Log: c.Log, Micros: c.Micros}
	lines := c.Lines
	if x.Whole {
		lines = bytes.Split(bytes.TrimSuffix(d.Bytes(), []byte("\n")), []byte("\n"))
	}
	x.Lines = make([]json.RawMessage, 0, len(lines))
	for _, l := range lines {
		if len(l) > 0 {
			x.Lines = append(x.Lines, l)
		}
	}
	if err := json.NewEncoder(o.out).Encode(x); err != nil {
		o.stop(fmt.Errorf("%w: %w", errOutput, err))
	}
}

func (o *jsonOutput) state(viewer.State) {}

func (o *jsonOutput) run(ctx context.Context) { <-ctx.Done() }
