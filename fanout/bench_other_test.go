//go:build !linux

package fanout_test

// crowdEnv and crowdMain are for the benchmarks of the epoll engine.
const crowdEnv = "FANOUT_TEST_CROWD"

func crowdMain(string) error { return nil }
