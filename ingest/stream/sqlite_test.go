package stream_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"tallystream/ingest/stream"
	"tallystream/ingest/stream/streamtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLiteIsAStream(t *testing.T) {
	for name, cfg := range map[string]stream.Config{
		"FromMemory": {},
		"FromFile":   {CacheBytes: -1},
		"TinyGroups": {MaxGroup: 2, CacheBytes: 3000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			streamtest.Run(t, func(t *testing.T) streamtest.Opener {
				cfg := cfg
				cfg.Path = filepath.Join(t.TempDir(), "stream.sqlite")
				return func(t *testing.T) streamtest.Stream {
					s, err := stream.OpenSQLite(cfg)
					if err != nil {
						t.Fatalf("OpenSQLite: %v", err)
					}
					return s
				}
			})
		})
	}
}
