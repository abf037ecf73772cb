package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Release names what a program was built from: 1 to 64 letters, digits and
// ".", "_", "+", "-".
type Release string

const maxRelease = 64

// ParseRelease reads a release's name.
func ParseRelease(s string) (Release, error) {
	if s == "" || len(s) > maxRelease {
		return "", fmt.Errorf("a release's name of %d bytes: want 1 to %d", len(s), maxRelease)
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._+-", rune(c)) {
			return "", fmt.Errorf("byte %d of a release's name is %q: want letters, digits and . _ + -", i, c)
		}
	}
	return Release(s), nil
}

// release is set by the linker: -ldflags "-X tallystream/service.release=NAME".
var release string

// ThisRelease is what this program was built from: the name that the linker was
// given, or else the commit that the go command noted. False: neither is known,
// as with "go run" and in tests.
func ThisRelease() (Release, bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	return releaseOf(release, info.Settings)
}

// commitDigits of a commit name a release, as git shortens a commit in a large repository.
const commitDigits = 12

func releaseOf(linked string, settings []debug.BuildSetting) (Release, bool) {
	if r, err := ParseRelease(linked); err == nil {
		return r, true
	}
	var commit, changed string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), commitDigits)]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "-dirty"
		}
	}
	r, err := ParseRelease(commit + changed)
	return r, err == nil && commit != ""
}

// Verdict is what a look at the release pointer came to.
type Verdict string

// The verdicts. Only WrongRelease takes a process out of the balancer: no
// trouble with the pointer itself may ever empty a fleet.
const (
	RightRelease   Verdict = "right"
	WrongRelease   Verdict = "wrong"
	NoPointer      Verdict = "missing" // nobody has said which release should run
	PointerFailing Verdict = "failing" // it could not be read, or does not name a release
)

// Pointer is where the name of the release that should run is kept.
type Pointer interface {
	// Read returns what it holds, or ErrNoPointer.
	Read(context.Context) ([]byte, error)
	// String says where it is.
	String() string
}

// ErrNoPointer says that there is no release pointer at its place.
var ErrNoPointer = errors.New("there is no release pointer")

// How often the pointer is read, and how long a read may take.
const (
	ReleaseEvery   = 5 * time.Second
	releaseTimeout = 2 * time.Second
)

// ReleaseWatch knows whether this process runs the release that the pointer
// names. It reads the pointer at its own pace, so that a request, whoever sends
// it, costs no read.
type ReleaseWatch struct {
	own     Release
	pointer Pointer
	log     *slog.Logger
	looks   *prometheus.CounterVec

	mu      sync.Mutex // guards verdict and named
	verdict Verdict
	named   Release
}

// NewReleaseWatch makes a watch that has not looked yet; until it has, it says PointerFailing.
func NewReleaseWatch(own Release, p Pointer, registry prometheus.Registerer, log *slog.Logger) *ReleaseWatch {
	w := &ReleaseWatch{
		own: own, pointer: p, log: log, verdict: PointerFailing,
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tallystream_release_looks_total", Help: "Readings of the release pointer, by what they came to.",
		}, []string{"verdict"}),
	}
	for _, v := range []Verdict{RightRelease, WrongRelease, NoPointer, PointerFailing} {
		w.looks.WithLabelValues(string(v)) // so that a first failure is a rise from 0
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tallystream_release_info", Help: "1, with the release of this process as a label.", ConstLabels: prometheus.Labels{"release": string(own)},
	})
	info.Set(1)
	registry.MustRegister(w.looks, info)
	return w
}

// Look reads the pointer once.
func (w *ReleaseWatch) Look(ctx context.Context) Verdict {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	named, err := w.read(ctx)
	v := RightRelease
	switch {
	case errors.Is(err, ErrNoPointer):
		v = NoPointer
	case err != nil:
		v = PointerFailing
	case named != w.own:
		v = WrongRelease
	}
	w.looks.WithLabelValues(string(v)).Inc()
	w.mu.Lock()
	before := w.verdict
	w.verdict, w.named = v, named
	w.mu.Unlock()
	w.tell(ctx, before, v, named, err)
	return v
}

func (w *ReleaseWatch) read(ctx context.Context) (Release, error) {
	b, err := w.pointer.Read(ctx)
	if err != nil {
		return "", err
	}
	return ParseRelease(strings.TrimSpace(string(b)))
}

// tell logs each failure, and of the others those that are news.
func (w *ReleaseWatch) tell(ctx context.Context, before, now Verdict, named Release, err error) {
	where := slog.String("pointer", w.pointer.String())
	switch {
	case now == PointerFailing:
		w.log.ErrorContext(ctx, "release pointer cannot be read, staying in", where, "release", w.own, "err", err)
	case now == before:
	case now == NoPointer:
		w.log.WarnContext(ctx, "there is no release pointer, staying in", where, "release", w.own)
	case now == WrongRelease:
		w.log.WarnContext(ctx, "this is not the release that should run, going out of the balancer", where, "release", w.own, "named", named)
	default:
		w.log.InfoContext(ctx, "this is the release that should run", where, "release", w.own)
	}
}

// Run looks every so often until ctx ends.
func (w *ReleaseWatch) Run(ctx context.Context) error {
	t := time.NewTicker(ReleaseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			w.Look(ctx)
		}
	}
}

// Check says why this process should get no new work, or nil. It looks nowhere.
func (w *ReleaseWatch) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.verdict == WrongRelease {
		return fmt.Errorf("this is release %s, and %s should run", w.own, w.named)
	}
	return nil
}
