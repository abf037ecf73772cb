package main

import (
	"bufio"
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	"tallystream/fanout/wire"
)

// The storm in small, with its processes.
func TestAStormBringsEverybodyBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the epoll engine is for Linux")
	}
	c := stormCommand{Connections: 60, PerServer: 25, Bytes: 576, Every: 200 * time.Millisecond, Calm: 300 * time.Millisecond, Spread: 50 * time.Millisecond, InFlight: 16, Patience: time.Minute}
	r, err := c.play(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.verdict(); err != nil || r.Dropped != 60 || r.Servers != 3 || r.Frames < 60 || r.Different >= r.Frames {
		t.Errorf("%v: %+v", err, r)
	}
	if !strings.Contains(r.String(), "60 connections to 3 servers") {
		t.Error(r)
	}
}

func TestAStormIsJudged(t *testing.T) {
	fine := stormReport{Connections: 10, Dropped: 10, StormReads: 3, RegularReads: 3.5}
	if err := fine.verdict(); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]func(*stormReport){
		"missing": func(r *stormReport) { r.Missing = 1 },
		"behind":  func(r *stormReport) { r.Behind = 1 },
		"kept":    func(r *stormReport) { r.Dropped = 9 },
		"error":   func(r *stormReport) { r.Failures = map[string]uint64{"503": 1} },
		"lost":    func(r *stormReport) { r.Lost = map[string]uint64{"closed without a word": 1} },
		"reads":   func(r *stormReport) { r.StormReads = 4 },
	} {
		r := fine
		wrong(&r)
		if r.verdict() == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestHonestViewersAndCodesAreJudged(t *testing.T) {
	report := func() *hostileReport {
		r := &hostileReport{Alone: []float64{50, 40, 60}, Beside: []float64{54, 54, 90}, Offenders: mobReport{}}
		for _, o := range offences() {
			r.Offenders.count(o.name, o.code, 3)
			r.Offenders.count(o.name, tooOften, 1)
			r.Offenders.count(o.name, unfinished, 1)
		}
		return r
	}
	if err := report().verdict(); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]func(*hostileReport){
		"late":       func(r *hostileReport) { r.Beside[0], r.Beside[1] = 60, 60 },
		"missed":     func(r *hostileReport) { r.Missed = 1 },
		"lost":       func(r *hostileReport) { r.Lost = 1 },
		"wrong code": func(r *hostileReport) { r.Offenders.count(offences()[0].name, "1006", 1) },
		"no code":    func(r *hostileReport) { delete(r.Offenders, offences()[3].name) },
	} {
		r := report()
		wrong(r)
		if r.verdict() == nil {
			t.Errorf("%s passes", name)
		}
	}
}

func TestAnOffendersEndIsRead(t *testing.T) {
	open := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n" + string(wire.AppendHead(nil, wire.Text, false, 2)) + "{}"
	for answer, want := range map[string]string{
		open + string(wire.AppendClose(nil, 4429, "too fast")):     "4429",
		"HTTP/1.1 408 Request Timeout\r\n\r\n":                     "HTTP 408",
		"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n": tooOften,
	} {
		if got := codeOf(context.Background(), bufio.NewReader(strings.NewReader(answer))); got != want {
			t.Errorf("%q: %s, want %s", answer, got, want)
		}
	}
	if got := codeOf(context.Background(), strings.NewReader(open)); got == "4429" || got == unfinished {
		t.Errorf("an end without a close frame is %s", got)
	}
	done, stop := context.WithCancel(context.Background())
	stop()
	if got := codeOf(done, strings.NewReader(open)); got != unfinished {
		t.Error(got)
	}
}

func TestRoundsAreSummedUpByTheirMiddle(t *testing.T) {
	r := report{Results: []result{
		{Kind: "write(2)", Connections: 10, Saturated: spell{ServerSeconds: 8}},
		{Kind: "write(2)", Connections: 10, Saturated: spell{ServerSeconds: 30, Missed: 1}},
		{Kind: "write(2)", Connections: 10, Saturated: spell{ServerSeconds: 6, Missed: 2}},
		{Kind: "write(2)", Connections: 20, Saturated: spell{ServerSeconds: 1}},
	}}
	got := r.find("write(2)", 10, false)
	if got.Saturated.ServerSeconds != 8 || got.Saturated.Missed != 3 || r.Results[0].Saturated.Missed != 0 {
		t.Errorf("%+v", got)
	}
	if r.find("epoll", 10, false) != nil {
		t.Error("found what was not measured")
	}
	var b strings.Builder
	r.writeRounds(&b, 10)
	if !strings.Contains(b.String(), "8.00, 30.00, 6.00") {
		t.Error(b.String())
	}
}
