/* The upstream of the benches: HTTP/1.1 on epoll, one thread, as little work as answering takes.
 *
 *   usage: upstream PORT
 *
 *   any path               200, about 200 bytes of JSON
 *   path with /echo        200, the head that reached us, as text
 *   path with /big         200, 10 MiB
 *   a request with a body  200, how many bytes of it came (Content-Length or chunked)
 *
 * Not a server for anything else: it trusts the proxy that asks it, and drops what is pipelined behind a body. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 16384
#define BIG_SIZE (10u << 20)
#define OK_HEAD "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncontent-length: %zu\r\n\r\n"
#define SMALL_BODY                                                                              \
  "{\"data\":[{\"id\":\"dom_01hxyz\",\"name\":\"example.com\",\"status\":\"active\","           \
  "\"expires_at\":\"2027-01-31T00:00:00Z\"},{\"id\":\"dom_01habc\",\"name\":\"example.org\","   \
  "\"status\":\"active\"}],\"page\":1,\"total\":2}"

/* What is being read of a request. */
enum state { IN_HEAD, IN_LENGTH, IN_CHUNK_SIZE, IN_CHUNK, AFTER_CHUNK, IN_TRAILER };
enum kind { SMALL, ECHO, BIG };
enum outcome { DEAD = -1, DONE = 0, BLOCKED = 1 };

struct connection {
  int fd, waits_to_write, closes;
  /* The request. */
  enum state state;
  enum kind kind;
  char head[HEAD_MAX];
  int head_length, has_body;
  long long body_left, body_received;
  char line[64]; /* of a chunk's size or a trailer */
  int line_length;
  /* The answer: its head, then its body; `owned` is freed once both are sent. */
  const char *first, *second;
  size_t first_left, second_left;
  char *owned;
};

static char small_answer[1024], *big_body, read_buffer[1 << 18];
static size_t small_answer_length;
static int epoll;

static void end(struct connection *c) {
  close(c->fd);
  free(c->owned);
  free(c);
}

static void wait_to_write(struct connection *c, int waits) {
  if (c->waits_to_write == waits) return;
  c->waits_to_write = waits;
  struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
}

static enum outcome send_answer(struct connection *c) {
  while (c->first_left || c->second_left) {
    int in_first = c->first_left > 0;
    const char *from = in_first ? c->first : c->second;
    ssize_t sent = send(c->fd, from, in_first ? c->first_left : c->second_left, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      wait_to_write(c, 1);
      return BLOCKED;
    }
    if (sent < 0) return DEAD;
    if (in_first) {
      c->first += sent;
      c->first_left -= sent;
    } else {
      c->second += sent;
      c->second_left -= sent;
    }
  }
  free(c->owned);
  c->owned = NULL;
  wait_to_write(c, 0);
  return c->closes ? DEAD : DONE;
}

/* Makes `first` of a head for that type and of the body, which may be empty. */
static void own_answer(struct connection *c, const char *type, size_t length, const char *body, size_t body_length) {
  size_t room = 256 + body_length;
  c->owned = malloc(room);
  int head = snprintf(c->owned, room, OK_HEAD, type, length);
  memcpy(c->owned + head, body, body_length);
  c->first = c->owned;
  c->first_left = head + body_length;
}

/* The request is complete: answers it, and is ready for the next. */
static enum outcome answer(struct connection *c) {
  if (c->kind == BIG) {
    own_answer(c, "application/octet-stream", BIG_SIZE, "", 0);
    c->second = big_body;
    c->second_left = BIG_SIZE;
  } else if (c->kind == ECHO) {
    own_answer(c, "text/plain", c->head_length, c->head, c->head_length);
  } else if (c->has_body) {
    char body[64];
    int length = snprintf(body, sizeof body, "{\"received\":%lld}", c->body_received);
    own_answer(c, "application/json", length, body, length);
  } else {
    c->first = small_answer;
    c->first_left = small_answer_length;
  }
  c->state = IN_HEAD;
  c->head_length = 0;
  return send_answer(c);
}

/* The value of a header field; its name is given in lower case and with the colon. */
static const char *field(const char *head, const char *name) {
  for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
    if (!strncasecmp(line + 2, name, strlen(name))) return line + 2 + strlen(name);
  return NULL;
}

/* What the head, which ends at `end_of_head`, says of the request. */
static void parse_head(struct connection *c, char *end_of_head) {
  char kept = *end_of_head;
  *end_of_head = 0;
  char *path = strchr(c->head, ' '), *end_of_line = strstr(c->head, "\r\n");
  *end_of_line = 0;
  c->kind = path && strstr(path, "/big") ? BIG : path && strstr(path, "/echo") ? ECHO : SMALL;
  *end_of_line = '\r';
  const char *length = field(c->head, "content-length:"), *chunked = field(c->head, "transfer-encoding:");
  const char *connection = field(c->head, "connection:");
  if (connection && !strncasecmp(connection + (*connection == ' '), "close", 5)) c->closes = 1;
  c->body_left = length ? atoll(length) : 0;
  c->body_received = 0;
  c->has_body = chunked || c->body_left > 0;
  c->state = !c->has_body ? IN_HEAD : chunked ? IN_CHUNK_SIZE : IN_LENGTH;
  c->line_length = 0;
  *end_of_head = kept;
}

/* One octet of the lines around chunks; 1 when it was the body's last. */
static int take_framing(struct connection *c, char octet) {
  if (c->state == AFTER_CHUNK && octet == '\n') {
    c->state = IN_CHUNK_SIZE;
    c->line_length = 0;
  } else if (c->state == IN_CHUNK_SIZE && octet == '\n') {
    c->line[c->line_length] = 0;
    c->body_left = strtoll(c->line, NULL, 16);
    c->state = c->body_left ? IN_CHUNK : IN_TRAILER;
    c->line_length = 0;
  } else if (c->state == IN_CHUNK_SIZE && c->line_length < (int)sizeof c->line - 1) {
    c->line[c->line_length++] = octet;
  } else if (c->state == IN_TRAILER && octet == '\n') {
    if (c->line_length == 0) return 1;
    c->line_length = 0;
  } else if (c->state == IN_TRAILER && octet != '\r') {
    c->line_length++;
  }
  return 0;
}

/* Drops what came of the body; 1 when that was all of it. */
static int take_body(struct connection *c, const char *data, ssize_t length) {
  while (length > 0) {
    if (c->state != IN_LENGTH && c->state != IN_CHUNK) {
      length--;
      if (take_framing(c, *data++)) return 1;
      continue;
    }
    ssize_t taken = length < c->body_left ? length : c->body_left;
    c->body_left -= taken;
    c->body_received += taken;
    data += taken;
    length -= taken;
    if (c->body_left) continue;
    if (c->state == IN_LENGTH) return 1;
    c->state = AFTER_CHUNK;
  }
  return 0;
}

/* `head` holds `head_length` octets: does all the requests that are complete in them. */
static enum outcome take_head(struct connection *c) {
  for (;;) {
    c->head[c->head_length] = 0;
    char *blank = strstr(c->head, "\r\n\r\n");
    if (!blank) return c->head_length >= HEAD_MAX - 1 ? DEAD : DONE;
    char *rest = blank + 4;
    int rest_length = c->head_length - (rest - c->head);
    parse_head(c, rest);
    c->head_length = rest - c->head;
    if (c->has_body) {
      if (rest_length && take_body(c, rest, rest_length)) return answer(c) == DEAD ? DEAD : DONE;
      return DONE;
    }
    if (answer(c) == DEAD) return DEAD;
    if (!rest_length) return DONE;
    /* Pipelined: the next request's beginning is here already. */
    memmove(c->head, rest, rest_length);
    c->head_length = rest_length;
    if (c->waits_to_write) return DONE;
  }
}

static enum outcome receive(struct connection *c) {
  for (;;) {
    int in_head = c->state == IN_HEAD, room = HEAD_MAX - 1 - c->head_length;
    char *into = in_head ? c->head + c->head_length : read_buffer;
    ssize_t read = recv(c->fd, into, in_head ? (size_t)room : sizeof read_buffer, 0);
    if (read == 0) return DEAD;
    if (read < 0) return errno == EAGAIN ? DONE : DEAD;
    if (in_head) {
      c->head_length += read;
      if (take_head(c) == DEAD) return DEAD;
      /* A short read has emptied the socket: no second call only to hear so. */
      if (read < room && c->state == IN_HEAD) return DONE;
    } else if (take_body(c, read_buffer, read) && answer(c) == DEAD) {
      return DEAD;
    }
  }
}

static void accept_all(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct connection *c = calloc(1, sizeof *c);
    c->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
  }
}

static void serve(struct connection *c, unsigned events) {
  enum outcome outcome = events & EPOLLOUT ? send_answer(c) : DONE;
  if (outcome != DEAD && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->waits_to_write) outcome = receive(c);
  if (outcome == DEAD) end(c);
}

static int listen_on(int port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  struct sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096)) {
    perror("upstream");
    exit(1);
  }
  return listener;
}

static void make_answers(void) {
  big_body = malloc(BIG_SIZE);
  memset(big_body, 'x', BIG_SIZE);
  small_answer_length = snprintf(small_answer, sizeof small_answer, OK_HEAD SMALL_BODY, "application/json",
                                 sizeof SMALL_BODY - 1);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: upstream PORT\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  make_answers();
  int listener = listen_on(atoi(argv[1]));
  epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr)
        serve(events[i].data.ptr, events[i].events);
      else
        accept_all(listener);
    }
  }
}
