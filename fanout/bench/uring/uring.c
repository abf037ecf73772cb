// What io_uring with registered files would save of sending one small frame to
// many sockets, beside write(2): CPU seconds a million sends, of the sender alone.
// Measured, and not taken: see ../../README.md. Linux only; nothing builds it.
//
//   cc -O2 -Wall -o /tmp/uring fanout/bench/uring/uring.c && /tmp/uring
//
// A child process reads all sockets. A round is one frame to each of them, and
// ends when the child has it all. The two ways take turns.

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { SOCKETS = 2000, FRAME = 580, ROUNDS = 60, TURNS = 3, BATCH = 512 };

static int out[SOCKETS]; // the sender's
static char frame[FRAME];

static void must(int ok, const char *what) {
	if (!ok) err(1, "%s", what);
}

// ring is an io_uring with its queues mapped.
static struct {
	int fd;
	unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
} ring;

static void *map(size_t bytes, off_t at) {
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring.fd, at);
	must(p != MAP_FAILED, "mapping a ring");
	return p;
}

static void open_ring(void) {
	struct io_uring_params p;
	memset(&p, 0, sizeof p);
	p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
	ring.fd = syscall(SYS_io_uring_setup, BATCH, &p);
	must(ring.fd >= 0, "io_uring_setup");
	char *sq = map(p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	char *cq = map(p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	ring.sqes = map(p.sq_entries * sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	ring.sq_tail = (unsigned *)(sq + p.sq_off.tail);
	ring.sq_mask = (unsigned *)(sq + p.sq_off.ring_mask);
	ring.sq_array = (unsigned *)(sq + p.sq_off.array);
	ring.cq_head = (unsigned *)(cq + p.cq_off.head);
	ring.cq_tail = (unsigned *)(cq + p.cq_off.tail);
	ring.cq_mask = (unsigned *)(cq + p.cq_off.ring_mask);
	ring.cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);
	must(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_FILES, out, SOCKETS) == 0, "registering files");
}

// send_batch sends the frame to n sockets from the first on, with one system call.
static void send_batch(int first, int n) {
	unsigned tail = *ring.sq_tail;
	for (int i = 0; i < n; i++, tail++) {
		unsigned slot = tail & *ring.sq_mask;
		struct io_uring_sqe *e = &ring.sqes[slot];
		memset(e, 0, sizeof *e);
		e->opcode = IORING_OP_SEND;
		e->flags = IOSQE_FIXED_FILE;
		e->fd = first + i; // its place among the registered files
		e->addr = (uintptr_t)frame;
		e->len = FRAME;
		e->msg_flags = MSG_NOSIGNAL;
		ring.sq_array[slot] = slot;
	}
	__atomic_store_n(ring.sq_tail, tail, __ATOMIC_RELEASE);
	for (int submitted = 0, done = 0; done < n;) {
		int k = syscall(SYS_io_uring_enter, ring.fd, n - submitted, n - done, IORING_ENTER_GETEVENTS, NULL, 0);
		if (k < 0 && errno == EINTR) continue;
		must(k >= 0, "io_uring_enter");
		submitted += k;
		unsigned head = *ring.cq_head, end = __atomic_load_n(ring.cq_tail, __ATOMIC_ACQUIRE);
		for (; head != end; head++, done++) {
			int sent = ring.cqes[head & *ring.cq_mask].res;
			if (sent != FRAME) errx(1, "a send took %d bytes, want %d", sent, FRAME);
		}
		__atomic_store_n(ring.cq_head, head, __ATOMIC_RELEASE);
	}
}

static void round_ring(void) {
	for (int i = 0; i < SOCKETS; i += BATCH) send_batch(i, SOCKETS - i < BATCH ? SOCKETS - i : BATCH);
}

static void round_write(void) {
	for (int i = 0; i < SOCKETS; i++) must(write(out[i], frame, FRAME) == FRAME, "write");
}

// read_all is the child: it says a byte for each whole round.
static void read_all(int *in, int said) {
	int poll = epoll_create1(0);
	for (int i = 0; i < SOCKETS; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = in[i]};
		must(epoll_ctl(poll, EPOLL_CTL_ADD, in[i], &e) == 0, "epoll_ctl");
	}
	static char buffer[64 << 10];
	struct epoll_event ready[512];
	for (long got = 0;;) {
		int n = epoll_wait(poll, ready, 512, -1);
		for (int i = 0; i < n; i++) {
			ssize_t k = read(ready[i].data.fd, buffer, sizeof buffer);
			if (k <= 0) _exit(0); // the sender has ended
			got += k;
		}
		if (got == (long)SOCKETS * FRAME) {
			got = 0;
			must(write(said, "x", 1) == 1, "answering");
		}
	}
}

static void connect_all(int *in) {
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	must(bind(l, (void *)&a, size) == 0 && listen(l, 128) == 0 && getsockname(l, (void *)&a, &size) == 0, "listening");
	for (int i = 0; i < SOCKETS; i++) {
		in[i] = socket(AF_INET, SOCK_STREAM, 0);
		must(connect(in[i], (void *)&a, size) == 0, "connecting");
		out[i] = accept(l, NULL, NULL);
		must(out[i] >= 0 && setsockopt(out[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0, "accepting");
	}
	close(l);
}

static double cpu(void) {
	struct rusage u;
	must(getrusage(RUSAGE_SELF, &u) == 0, "getrusage");
	return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

// turn is CPU seconds a million sends.
static double turn(void (*send_round)(void), int told) {
	char b;
	double before = cpu();
	for (int i = 0; i < ROUNDS; i++) {
		send_round();
		must(read(told, &b, 1) == 1, "waiting for the child");
	}
	return (cpu() - before) * 1e6 / ((double)ROUNDS * SOCKETS);
}

int main(void) {
	setlinebuf(stdout);
	static int in[SOCKETS];
	struct rlimit files = {2 * SOCKETS + 64, 2 * SOCKETS + 64};
	setrlimit(RLIMIT_NOFILE, &files); // what is missing is said when a socket cannot be opened
	memset(frame, 'x', FRAME);
	int said[2];
	must(pipe(said) == 0, "pipe");
	connect_all(in);
	if (fork() == 0) {
		for (int i = 0; i < SOCKETS; i++) close(out[i]);
		read_all(in, said[1]);
	}
	for (int i = 0; i < SOCKETS; i++) close(in[i]);
	close(said[1]);
	open_ring();
	turn(round_write, said[0]); // warm: the first segments are acknowledged at once
	for (int i = 0; i < TURNS; i++) {
		double plain = turn(round_write, said[0]), ringed = turn(round_ring, said[0]);
		printf("write(2) %.2f s, io_uring %.2f s a million sends of %d bytes to %d sockets: %+.0f%%\n", plain, ringed, FRAME, SOCKETS,
			100 * (ringed / plain - 1));
	}
	return 0; // with the process the ring goes, which holds the sockets, and with these the child
}
