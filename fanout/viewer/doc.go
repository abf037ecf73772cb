// Package viewer is the client side of the live protocol: Document is the
// client rule as a pure value, Client keeps documents up to date over
// WebSocket.
//
// Invariant: a Document's bytes always have the hash that the server stated
// for its version. What does not is never shown; it is fetched anew.
package viewer
