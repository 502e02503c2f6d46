/* The load generator of bench.open_loop, which explains it, builds it and runs it:

       open_loop PORT RATE SECONDS CONNECTIONS KEEP < REQUEST

   REQUEST is the whole HTTP request. With RATE 0 each connection asks when it has its answer. With KEEP 0 each request
   has a connection of its own. It prints one line of JSON, with the time of each answer since its request was due, and
   with the time that passed before each request was sent though it was due and a connection was free. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define REPLY_OCTETS 65536
#define MOST_CONNECTIONS 4096
#define PATIENCE_SECONDS 5.0 /* How long answers are waited for after the last request. */

enum state { CLOSED, IDLE, CONNECTING, ASKED, ENDING };

struct connection {
    enum state state;
    int stream;
    double due, free_since;
    size_t length;
    char received[REPLY_OCTETS + 1];
};

static struct connection *connections;
static struct connection *free_ones[MOST_CONNECTIONS]; /* A ring: the one that is free for longest is used first. */
static size_t connection_count, first_free, free_count;
static struct sockaddr_in server;
static char request[REPLY_OCTETS];
static size_t request_length;
static int poll_descriptor, keep;
static double *latencies, *lateness;
static size_t answered, asked, room, errors;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct connection *c, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poll_descriptor, operation, c->stream, &event))
        die("epoll_ctl");
}

static void set_free(struct connection *c, enum state state)
{
    c->state = state;
    c->length = 0;
    c->free_since = now();
    free_ones[(first_free + free_count++) % connection_count] = c;
}

static void close_stream(struct connection *c)
{
    close(c->stream);
    c->state = CLOSED;
}

/* A request that gets no answer; its connection is opened again when it is needed. */
static void failed(struct connection *c)
{
    errors++;
    close_stream(c);
    set_free(c, CLOSED);
}

static void send_request(struct connection *c)
{
    c->state = ASKED;
    if (send(c->stream, request, request_length, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)request_length)
        failed(c);
}

/* Open a connection; `kind` is SOCK_NONBLOCK, or 0 to wait until it is there. Returns whether it may come to be. */
static int open_stream(struct connection *c, int kind)
{
    int one = 1;
    c->stream = socket(AF_INET, SOCK_STREAM | kind, 0);
    if (c->stream < 0)
        die("socket");
    setsockopt(c->stream, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int failure = connect(c->stream, (struct sockaddr *)&server, sizeof server) ? errno : 0;
    c->state = kind ? CONNECTING : IDLE;
    watch(c, EPOLL_CTL_ADD, kind ? EPOLLOUT : EPOLLIN);
    return !failure || (kind && failure == EINPROGRESS);
}

static void ask(double due)
{
    struct connection *c = free_ones[first_free];
    first_free = (first_free + 1) % connection_count;
    free_count--;
    double could = due > c->free_since ? due : c->free_since;
    lateness[asked++] = now() - could;
    c->due = due;
    if (c->state == IDLE)
        send_request(c);
    else if (!open_stream(c, SOCK_NONBLOCK))
        failed(c);
}

/* Whether the reply is whole; *closes says whether the server closes after it, *granted whether it has a token. */
static int is_whole(struct connection *c, int *closes, int *granted)
{
    static const char GRANTED[] = "\x30\x03\x02\x01\x00"; /* PKIStatusInfo with nothing but granted */
    c->received[c->length] = 0;
    char *end = strstr(c->received, "\r\n\r\n");
    if (!end)
        return 0;
    *end = 0;
    char *length = strcasestr(c->received, "\r\ncontent-length:");
    *closes = strcasestr(c->received, "\r\nconnection: close") != NULL;
    *end = '\r';
    size_t head = end + 4 - c->received, body = length ? strtoul(length + 17, NULL, 10) : 0;
    *granted = c->length >= head + 9 && memcmp(c->received + head + 4, GRANTED, 5) == 0;
    return c->length >= head + body;
}

static void read_reply(struct connection *c)
{
    int closes, granted;
    ssize_t count = recv(c->stream, c->received + c->length, REPLY_OCTETS - c->length, MSG_DONTWAIT);
    if (count < 0 && errno == EAGAIN)
        return;
    if (count <= 0) {
        if (c->state == ASKED) {
            failed(c);
        } else {
            int was_free = c->state == IDLE; /* the server closes a connection that was idle */
            close_stream(c);
            if (!was_free)
                set_free(c, CLOSED);
        }
        return;
    }
    c->length += count;
    if (c->state != ASKED || !is_whole(c, &closes, &granted))
        return;
    if (granted)
        latencies[answered++] = now() - c->due;
    else
        errors++;
    if (closes || !keep)
        c->state = ENDING; /* the server closes first, so that ports are free again */
    else
        set_free(c, IDLE);
}

static void handle(struct connection *c, unsigned events)
{
    if (c->state != CONNECTING) {
        read_reply(c);
        return;
    }
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->stream, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error || !(events & EPOLLOUT)) {
        failed(c);
    } else {
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
        send_request(c);
    }
}

static void wait_until(double due)
{
    struct pollfd descriptor = {.fd = poll_descriptor, .events = POLLIN};
    double pause = due - now();
    if (pause < 0)
        pause = 0;
    struct timespec limit = {.tv_sec = (time_t)pause, .tv_nsec = (long)(1e9 * (pause - (time_t)pause))};
    if (ppoll(&descriptor, 1, &limit, NULL) < 0 && errno != EINTR)
        die("ppoll");
}

static void print_times(const char *name, const double *times, size_t count)
{
    printf(", \"%s\": [", name);
    for (size_t each = 0; each < count; each++)
        printf(each ? ",%.3f" : "%.3f", 1000 * times[each]);
    printf("]");
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return fprintf(stderr, "open_loop PORT RATE SECONDS CONNECTIONS KEEP < REQUEST\n"), 2;
    double rate = atof(argv[2]), seconds = atof(argv[3]);
    connection_count = atoi(argv[4]);
    keep = atoi(argv[5]);
    server.sin_family = AF_INET;
    server.sin_port = htons(atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connection_count < 1 || connection_count > MOST_CONNECTIONS)
        return fprintf(stderr, "open_loop: 1 to %d connections\n", MOST_CONNECTIONS), 2;
    request_length = fread(request, 1, sizeof request, stdin);
    poll_descriptor = epoll_create1(0);
    connections = calloc(connection_count, sizeof *connections);
    /* All times are written down here, so that no memory is asked for under load. A rate of 0 is at most this one. */
    room = 1000 + (size_t)(seconds * (rate > 0 ? 2 * rate : 1e6));
    latencies = malloc(room * sizeof *latencies);
    lateness = malloc(room * sizeof *lateness);
    if (poll_descriptor < 0 || !connections || !latencies || !lateness)
        die("open_loop");
    prctl(PR_SET_TIMERSLACK, 1); /* nanosecond; the default makes every wake-up 50 us late */
    for (size_t each = 0; each < connection_count; each++) {
        struct connection *c = &connections[each];
        set_free(c, CLOSED);
        if (keep && !open_stream(c, 0))
            die("connect");
    }
    unsigned short chance[3] = {1, 2, 3}; /* the same arrivals in every run */
    double started = now(), ends = started + seconds, due = started, time;
    if (rate > 0)
        due -= log(1 - erand48(chance)) / rate;
    while ((time = now()) < ends + PATIENCE_SECONDS && (due < ends || free_count < connection_count)) {
        while (free_count && due < ends && due <= time && asked < room) {
            ask(due);
            time = now();
            due = rate > 0 ? due - log(1 - erand48(chance)) / rate : time;
        }
        wait_until(due < ends && free_count ? due : ends + PATIENCE_SECONDS);
        struct epoll_event events[256];
        int count = epoll_wait(poll_descriptor, events, 256, 0);
        for (int each = 0; each < count; each++)
            handle(events[each].data.ptr, events[each].events);
    }
    double elapsed = now() - started;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1e-6 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    for (; rate > 0 && due < ends; due -= log(1 - erand48(chance)) / rate)
        errors++; /* nobody asked them */
    printf("{\"seconds\": %.6f, \"errors\": %zu, \"cpu_seconds\": %.6f", elapsed,
           errors + connection_count - free_count, cpu);
    print_times("latencies_ms", latencies, answered);
    print_times("late_ms", lateness, asked);
    printf("}\n");
    return 0;
}
