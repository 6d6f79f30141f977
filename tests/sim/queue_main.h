/* tests/sim/queue_main.h: `kvasir-sim queue`. docs/simulator.md. */
#ifndef KVASIR_SIM_QUEUE_MAIN_H
#define KVASIR_SIM_QUEUE_MAIN_H

/* argv[0] is the word itself. Returns the exit status. */
int sim_queue_main(int argc, char **argv);

#endif
