// Bench holds ways to push one delta to many WebSockets against each other: a
// bare write(2), the fanout's two engines, and two hubs as people write them with
// gorilla/websocket and coder/websocket.
//
// Invariant: every kind gets the same bytes from the same publisher, over as many
// processes, and is watched by the same viewers (simulator/viewers), who count
// every delivery. A number is printed only with what was lost beside it.
//
// It is a module of its own so that the libraries it compares stay out of the
// program.
package main
