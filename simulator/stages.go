package simulator

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/google/pprof/profile"
)

// StageCost is the CPU time of one stage of the way, from a CPU profile whose
// samples carry the stage as a label.
type StageCost struct {
	Stage string `json:"stage"`
	// Micros of CPU a submission, and the same in units of one Ed25519
	// verification measured in this run: the machine's speed drifts, this
	// ratio does not.
	Micros  float64 `json:"cpu_us_per_submission"`
	Verifys float64 `json:"in_verifications"`
}

// Calibration is what the machine's cryptography costs in this run, in
// microseconds.
type Calibration struct {
	Sign   float64 `json:"sign_us"`
	Verify float64 `json:"verify_us"`
	SHA256 float64 `json:"sha256_5k_us"`
}

// calibrate times the three operations, 50 ms each.
func calibrate() Calibration {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	public := key.Public().(ed25519.PublicKey)
	text := []byte("results.example/calibration/submission/v1\nunit\n1\n5000\n")
	sig := ed25519.Sign(key, text)
	body := make([]byte, 5000)
	return Calibration{
		Sign:   timeEach(func() { ed25519.Sign(key, text) }),
		Verify: timeEach(func() { ed25519.Verify(public, text, sig) }),
		SHA256: timeEach(func() { sha256.Sum256(body) }),
	}
}

// timeEach is the best of many short runs, in microseconds: what else the
// machine does can only add to it.
func timeEach(f func()) float64 {
	const span, batch = 50 * time.Millisecond, 10
	best := time.Hour
	for start := time.Now(); time.Since(start) < span; {
		begun := time.Now()
		for range batch {
			f()
		}
		best = min(best, time.Since(begun))
	}
	return round(float64(best.Nanoseconds())/batch/1e3, 2)
}

// inStage runs f with its goroutine, and all that it starts, labelled.
func inStage(ctx context.Context, stage string, f func(context.Context) error) error {
	var err error
	pprof.Do(ctx, pprof.Labels("stage", stage), func(ctx context.Context) { err = f(ctx) })
	return err
}

// stageProfile collects a CPU profile in memory, unless one runs already.
type stageProfile struct {
	raw bytes.Buffer
	on  bool
}

func (p *stageProfile) start() {
	p.on = pprof.StartCPUProfile(&p.raw) == nil
}

// stop ends the profile and returns CPU seconds by stage.
func (p *stageProfile) stop() (map[string]float64, error) {
	if !p.on {
		return nil, nil
	}
	pprof.StopCPUProfile()
	prof, err := profile.ParseData(p.raw.Bytes())
	if err != nil {
		return nil, fmt.Errorf("reading the CPU profile: %w", err)
	}
	out := map[string]float64{}
	for _, s := range prof.Sample {
		stage := "runtime"
		if l := s.Label["stage"]; len(l) > 0 {
			stage = l[0]
		}
		out[stage] += float64(s.Value[1]) / 1e9
	}
	return out, nil
}

// write stores the profile for "go tool pprof".
func (p *stageProfile) write(path string) error {
	if err := os.WriteFile(path, p.raw.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the CPU profile: %w", err)
	}
	return nil
}

// stageCosts turns seconds into costs a submission, dearest first.
func stageCosts(seconds map[string]float64, submissions uint64, c Calibration) []StageCost {
	var out []StageCost
	for stage, s := range seconds {
		us := s * 1e6 / float64(max(submissions, 1))
		out = append(out, StageCost{Stage: stage, Micros: round(us, 1), Verifys: round(us/c.Verify, 2)})
	}
	slices.SortFunc(out, func(a, b StageCost) int {
		switch {
		case a.Micros > b.Micros:
			return -1
		case a.Micros < b.Micros:
			return 1
		}
		return strings.Compare(a.Stage, b.Stage)
	})
	return out
}

func round(x float64, digits int) float64 {
	p := 1.0
	for range digits {
		p *= 10
	}
	return float64(int64(x*p+0.5)) / p
}
