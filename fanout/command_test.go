package fanout_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"tallystream/fanout"
	"tallystream/fanout/bus"
	"tallystream/fanout/viewer"
	"tallystream/publish/bucket"
	"tallystream/schemas"
	"tallystream/service/servicetest"
)

const commandDefinition = `{"schema":"tallystream.definition/1","election":"small-2026","name":"Small election","date":"2026-11-03",
"origin":"results.example/small-2026","countTypes":["election-day"],"partitions":1,"signatures":1,
"rules":{"ballots":false,"registered":false},"states":[{"id":"st","name":"State"}],"counties":[{"id":"leon","name":"Leon","state":"st"}],
"contests":[{"id":"c","name":"C","kind":"candidate","votesAllowed":1,"residuals":"none","selections":[{"id":"a","name":"A"}]}],
"styles":[{"id":"all","contests":["c"]}],"units":[{"id":"u1","name":"One","county":"leon","kind":"precinct","style":"all"}]}`

// The service alone: the publisher is another process, which reaches it over
// its bus and shares its directory.
func TestTheServiceCarriesDeltasFromItsBusToViewers(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, schemas.DefinitionKey), []byte(commandDefinition), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &fanout.Command{
		Data: dir, Bucket: filepath.Join(dir, "public"), Listen: servicetest.FreeAddress(t), BusListen: servicetest.FreeAddress(t), Status: servicetest.FreeAddress(t),
		Listeners: 2, Compress: true,
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx, slog.New(slog.NewTextHandler(io.Discard, nil))) }()

	publisher, err := bus.Connect(bus.Options{URL: "nats://" + c.BusListen, Election: "small-2026"})
	if err != nil {
		t.Fatal(err)
	}
	files, err := bucket.OpenDirectory(c.Bucket)
	if err != nil {
		t.Fatal(err)
	}
	p := newPress(contest)
	publish := func() {
		t.Helper()
		published := p.publish(true)
		for key, body := range p.objects {
			o := bucket.Object{Key: key, Body: body}
			put := files.PutNew
			if key == schemas.LatestKey {
				put = files.Replace
			}
			if err := put(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		if err := publisher.Published(t.Context(), published); err != nil {
			t.Fatal(err)
		}
	}
	p.change(contest, "u1", "u2")
	p.delta(contest)
	publish()
	waitFor(t, func() bool {
		return answers("http://"+c.Status+"/readyz") && answers("http://"+c.Listen+"/"+schemas.LatestKey)
	})

	v, err := viewer.New(viewer.Config{Live: "http://" + c.Listen, Bucket: "http://" + c.Listen, Documents: []schemas.DocumentID{contest}})
	if err != nil {
		t.Fatal(err)
	}
	viewing, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- v.Run(viewing) }()
	waitFor(t, func() bool { return client{v}.holds(p, contest) })
	p.change(contest, "u2", "u3")
	if err := publisher.Delta(t.Context(), contest, p.delta(contest)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return client{v}.holds(p, contest) })
	if got := v.Stats(); got.Deltas != 1 || got.Mismatches != 0 {
		t.Errorf("%+v", got)
	}

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	leave()
	if err := <-left; err != nil {
		t.Error(err)
	}
	publisher.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func answers(url string) bool {
	response, err := http.Get(url)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
