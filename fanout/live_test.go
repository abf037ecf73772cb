package fanout_test

import (
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"tallystream/fanout"
)

// The browser's client is tested by node against a real server.
func TestTheBrowserClientFollowsByTheClientRule(t *testing.T) {
	onEngines(t, func(t *testing.T, startTier starter) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("there is no node here to run live_test.mjs: ", err)
		}
		if out, err := exec.CommandContext(t.Context(), node, "--experimental-websocket", "-e", "new WebSocket('ws://127.0.0.1:1').onerror = () => {}").CombinedOutput(); err != nil {
			t.Skipf("this node has no WebSocket: %v: %s", err, out)
		}
		x := startTier(t, fanout.Config{}, "contest/c", "election")
		mux := x.pages
		random := rand.New(rand.NewPCG(1, 2))
		var playing sync.Mutex // guards the press
		mux.HandleFunc("POST /play", func(http.ResponseWriter, *http.Request) {
			playing.Lock()
			defer playing.Unlock()
			for i := range 60 {
				x.press.change(contest, someUnits(random, 40)...)
				frame := x.press.delta(contest)
				if i%20 != 19 { // one in twenty is lost on the bus
					x.OnDelta(frame)
				}
				if i%10 == 9 {
					x.OnPublished(x.press.publish(false))
				}
				time.Sleep(2 * time.Millisecond) // a night is longer than a loop: let viewers follow
			}
		})
		mux.HandleFunc("GET /body", func(w http.ResponseWriter, _ *http.Request) {
			playing.Lock()
			defer playing.Unlock()
			_, _ = w.Write(x.press.docs[contest].body())
		})
		cmd := exec.CommandContext(t.Context(), node, "--experimental-websocket", "--no-warnings", "--test", "live_test.mjs")
		cmd.Env = append(os.Environ(), "LIVE="+x.base)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if text := string(out); !strings.Contains(text, "# fail 0") || strings.Contains(text, "# pass 0") {
			t.Fatalf("%.4000s", text)
		}
	})
}
