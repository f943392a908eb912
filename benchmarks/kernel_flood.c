/* Makes system calls as fast as it can, or at a rate: `flood read|open|getppid SECONDS RATE FILE`, RATE 0 is flat out.
 * Prints how many it made and in how many seconds. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		return 2;
	double seconds = atof(argv[2]), rate = atof(argv[3]), start = now();
	unsigned long made = 0;
	int zero = open("/dev/zero", O_RDONLY);
	char byte;

	for (;;) {
		for (int i = 0; i < 64; i++, made++) {
			if (*argv[1] == 'r') {
				if (read(zero, &byte, 1) != 1)
					return 1;
			} else if (*argv[1] == 'g') {
				getppid();
			} else {
				close(open(argv[4], O_RDONLY));
			}
		}
		double at = now() - start;
		if (at >= seconds)
			break;
		while (rate > 0 && made / rate > now() - start)
			usleep(200);
	}
	printf("%lu %.6f\n", made, now() - start);
	return 0;
}
