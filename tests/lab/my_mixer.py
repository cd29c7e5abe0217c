"""A mixer from outside the lab: the running mean of what was read."""

import torch

from recall_lab.models import Cost, Mixer, MixerConfig


class MyMixer(Mixer):
    """y_t = g * mean of x_s over s <= t, g learned; its state is a sum and a count."""

    Config = MixerConfig

    def __init__(self, config):
        super().__init__(config)
        self.gain = torch.nn.Parameter(torch.ones(config.width))

    def forward(self, x):
        return self.output(self.mixing_matrix(x) @ self.values(x), x)

    def init_state(self, batch):
        return self.gain.new_zeros(batch, self.config.width + 1)

    def step(self, x, state):
        state = state + torch.cat((x, torch.ones_like(x[:, :1])), dim=1)
        return self.gain * state[:, :-1] / state[:, -1:], state

    def state_size(self, length):
        return self.config.width + 1

    def values(self, x):
        return x[:, None]

    def mixing_matrix(self, x):
        ones = x.new_ones(x.shape[1], x.shape[1]).tril()
        return (ones / ones.sum(dim=-1, keepdim=True)).expand(len(x), 1, -1, -1)

    def output(self, mixed, x):
        return self.gain * mixed[:, 0]

    def cost(self, length):
        return Cost(3 * length * self.config.width, 8 * length * self.config.width)
