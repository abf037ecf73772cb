package faultsim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestACampaignThatMeetsTooLittleSaysWhat(t *testing.T) {
	var out bytes.Buffer
	err := (&Command{Seeds: 2, First: 11}).run(t.Context(), &out, &out)
	if !errors.Is(err, ErrUncovered) || !strings.Contains(err.Error(), "bucket: snapshot x ") {
		t.Errorf("two nights ended with %v", err)
	}
	for _, want := range []string{"ledger: transaction", "shards merged", "2 nights", "0 violations"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

func TestTheReportInJSONSaysTheSame(t *testing.T) {
	var out bytes.Buffer
	if err := (&Command{Seeds: 1, First: 5, JSON: true}).run(t.Context(), &out, &bytes.Buffer{}); !errors.Is(err, ErrUncovered) {
		t.Errorf("one night ended with %v", err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if r.Seeds != 1 || r.First != 5 || r.Violations != 0 || len(r.Writes) != int(writes) || r.Writes["stream: record"]["fine"] == 0 || len(r.Uncovered) == 0 {
		t.Errorf("%+v", r)
	}
}

func TestOneNightIsShownStepByStep(t *testing.T) {
	seed := uint64(3)
	var traced, plain bytes.Buffer
	if err := (&Command{Seed: &seed, Trace: true}).run(t.Context(), &traced, &traced); err != nil {
		t.Fatal(err)
	}
	if err := (&Command{Seed: &seed}).run(t.Context(), &plain, &plain); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(traced.String(), plain.String()) || strings.Count(traced.String(), "\n") < 100 {
		t.Errorf("the trace of seed %d has %d lines and does not end as %q", seed, strings.Count(traced.String(), "\n"), plain.String())
	}
}

func TestACampaignThatIsStoppedSaysHowFarItCame(t *testing.T) {
	ctx, stop := contextAlreadyDone(t)
	defer stop()
	var out bytes.Buffer
	if err := (&Command{Seeds: 50}).run(ctx, &out, &out); err == nil || !strings.Contains(err.Error(), "of 50 nights") {
		t.Errorf("a stopped campaign ended with %v", err)
	}
}

func contextAlreadyDone(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(t.Context())
	stop()
	return ctx, stop
}
